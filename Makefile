# Every target makes .venv and installs what it needs, once. Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input

.PHONY: demo test test-int8 random-nets fuzz fuzz-long kills full-disk mutants lowest check lint docs results format clean

demo: .venv/.demo-installed
	.venv/bin/gan-slimming demo --output demo-output

test: .venv/.dev-installed
	.venv/bin/python -m pytest -n auto
	.venv/bin/python tests/every_cpu.py -q -m int8

# Longer: 300 random generators and all registered ones, opened as on every kind of CPU.
test-int8: .venv/.dev-installed
	.venv/bin/python tests/every_cpu.py -q tests/unit tests/property -k "export or openvino or int8 or kernel or file or saturat"
	.venv/bin/python -m tests.property.int8_everywhere --nets 300

# An hour or two: random generators with habits of published code, cut exactly in float64; their files.
random-nets: .venv/.dev-installed
	.venv/bin/python -m tests.property.many_random_nets --nets 1000
	GAN_SLIMMING_RANDOM_NETS=100 .venv/bin/python -m pytest -n auto tests/property/test_foreign_export.py -k random_nets

# Damaged files of every kind, for five minutes; 20,000 of each kind. Those that fail stay in found/.
fuzz: .venv/.dev-installed
	.venv/bin/python -m tests.faults.fuzz --seconds 300 --keep found

fuzz-long: .venv/.dev-installed
	.venv/bin/python -m tests.faults.fuzz --count 20000 --keep found

# Runs that are killed 300 times and resumed, and sweeps; runs on disks that are too small (as root).
kills: .venv/.dev-installed
	.venv/bin/python -m tests.faults.kills --kills 300
	.venv/bin/python -m tests.faults.sweep_kills --sweeps 5

full-disk: .venv/.dev-installed
	.venv/bin/python -m tests.faults.full_disk --sizes 200

# An hour or two: arithmetic that is broken in one place at a time, which a test must notice.
mutants: .venv/.dev-installed
	$(PIP) install 'mutmut>=3.8,<4'
	.venv/bin/python -m tests.mutants

# The quick tests, with the lowest versions that pyproject.toml allows; others as pinned.
lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest -n auto -m "not slow" tests/unit tests/cli

# All that a change has to pass.
check: lint docs test

lint: .venv/.dev-installed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright
	.venv/bin/lint-imports --no-cache

# The site of the documentation, in site/. A broken page ends it.
docs: .venv/.dev-installed
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet

# The tables of README and docs, from the records in results/.
results: .venv/.dev-installed
	.venv/bin/python benchmarks/tables.py

format: .venv/.dev-installed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

clean:
	rm -rf .venv .venv-lowest demo-output dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.demo-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install -c constraints.txt -e '.[demo]'
	touch $@

.venv-lowest/.installed: pyproject.toml constraints.txt tests/lowest.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python tests/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip --disable-pip-version-check --no-input install -c .venv-lowest/lowest.txt \
		-e '.[demo,export,flip,hub,video]' 'pytest>=8.3,<10' 'pytest-xdist>=3.6,<4' 'hypothesis>=6.112,<7'
	touch $@

# dev contains what the demo needs.
.venv/.dev-installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch .venv/.demo-installed $@
