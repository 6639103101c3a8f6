"""Help, exit statuses, and one clear line for every mistake."""

import dataclasses
import functools
import inspect
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gan_slimming.cli import COMMANDS, main
from gan_slimming.cli.parsing import SHORT
from gan_slimming.cli.source import Source
from gan_slimming.config import Budget, Memory, Named, Objective, Optimisation, Run, Target
from gan_slimming.errors import UserError

Capture = pytest.CaptureFixture[str]
GROUPS = {
    "budget": Budget,
    "target": Target,
    "objective": Objective,
    "optimisation": Optimisation,
    "memory": Memory,
}
FLAT = {"source": Source, "named": Named, "run": Run}
"""Parameter -> dataclass whose fields are flags."""
SHORT_OF = {setting: flag for flag, setting in SHORT.items()}


def mistake(capsys: Capture, *argv: str, status: int = 2) -> str:
    """The one line on stderr that the command line ends with."""
    assert main(list(argv)) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_flag_and_says_what_it_does(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    parameters = inspect.signature(COMMANDS[name]).parameters
    for kind in (FLAT[name] for name in parameters if name in FLAT):
        for field in dataclasses.fields(kind):
            flag = SHORT_OF.get(field.name, field.name.replace("_", "-"))
            assert field.name in GROUPS or f"--{flag} " in out
    for parameter in parameters.values():
        if parameter.name not in FLAT:
            flag = parameter.name.replace("_", "-")
            positional = parameter.kind is parameter.POSITIONAL_ONLY
            assert (flag if positional else f"--{flag} ") in out
    assert f"gan-slimming {name}" in out
    assert "--config" in out


def test_help_of_compress_names_every_setting_once(capsys: Capture) -> None:
    main(["compress", "--help"])
    out = capsys.readouterr().out
    for group, kind in GROUPS.items():
        for field in dataclasses.fields(kind):
            name = f"{group}.{field.name}"
            assert out.count(f"  --{SHORT_OF.get(name, name)} ") == 1
    assert "the paper's beta, 20 in the released" in " ".join(out.split())
    assert f"Default: {Optimisation().steps}." in " ".join(out.split())


def test_overview_and_version(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(f"\n  {name} " in overview for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gan-slimming ")


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys; from gan_slimming.cli import main; main(['compress', '--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_dash_m_is_the_command() -> None:
    command = [sys.executable, "-m", "gan_slimming", "compres"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == ("error: gan-slimming has no command 'compres'; did you mean compress?\n")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "name a command: compress, inspect"),
        ("frobnicate", "take one of compress"),
        ("compress", "--output missing"),
        ("compress --output o", "name the teacher: --generator"),
        ("compress --output o --generator cartoongan", "--budget.macs 0.05"),
        ("compress --output o --generator cartoongan --budget.macs 1", "give its file with --wei"),
        ("compress --output o --budget.macs 5", "write 0.05 for 5 %"),
        ("compress --output o --budget.macs 0.1 --budget.bytes 3k", "name one budget"),
        ("compress --output o --target.lpips 2", "target.lpips must be above 0 and below 1, got"),
        ("compress --output o --target.psnr x", "--target.psnr must be a number; got x"),
        ("compress --output o --target.psnr 9 --target.flip 0.2", "name one target, got target.p"),
        ("compress --output o --target.psnr 9 --budget.macs 0.1 --generator g", "only one of them"),
        ("compress --output o --target.psnr 9 --rho 1 --generator g", "got a target and rho"),
        ("compress --output o --minutes 5 --steps 9", "name steps or minutes, not both: got 9"),
        ("compress --output o --minutes 0", "minutes must be above 0, got 0"),
        ("compress --output o --repeat absent", "absent is no run folder: it has no config.yaml"),
        ("compress --output o --stps 3", "no flag --stps; did you mean --steps? see"),
        ("compress --output o --batchsize 3", "did you mean --batch-size?"),
        ("compress --output o --steps x", "--steps must be a whole number; got x"),
        ("compress --output o --steps 0", "steps must be at least 1, got 0"),
        ("compress --output o --bits x", "--bits must be a whole number or none; got x"),
        (
            "compress --output o --distill x",
            "must be auto, lpips, paper, vgg19, encoder, l1, spectral; got",
        ),
        ("compress --output o --preset x", "--preset must be default, paper; got x"),
        ("compress --output o --generator-args {a", "--generator-args must be a JSON object"),
        ("compress --output o --optimisation.betas 3", "a list such as [0.5, 0.9]"),
        ("compress --output", "--output needs a value"),
        ("compress --output o extra", "no place for extra"),
        ("compress --output o --config absent.yaml", "--config: File does not exist"),
        ("inspect", "MODEL missing; see gan-slimming inspect --help"),
        ("inspect Nothing", "no such model: Nothing"),
        ("translate cartoongan absent.jpg --output o", "no such file or folder: absent.jpg"),
        ("translate cartoongan absent.jpg", "--output missing"),
        ("sample sngan", "--output missing"),
        ("sample sngan --output grid.txt", "output grid.txt is no image file; end it in .jpg"),
        ("sample sngan --output g.png --classes x", "classes must be whole numbers such as 3,5"),
        ("compress --output o --latents 0 --generator g --rho 1", "latents must be at least 1"),
        ("compress --output o --objective.upsample_to 0", "objective.upsample_to must be at least"),
        ("export cartoongan", "--output missing"),
        (
            "export cartoongan --output g.bin",
            "names no format; take --format onnx, openvino, executorch, litert or coreml, with",
        ),
        (
            "export cartoongan --output g.onnx --format tflite",
            "must be onnx, openvino, executorch, litert, coreml; got tflite",
        ),
        (
            "export cartoongan --output g.xml --quantization integer",
            "take --quantization qdq, which OpenVINO runs",
        ),
        ("benchmark cartoongan --runtimes tflite", "--runtimes must be of torch, torch.compile"),
        ("benchmark", "MODELS"),
        ("demo --steps 0", "steps must be at least 1"),
        ("compress --output o --generator g --rho 1 --seed " + str(2**70), "seed must be at most"),
        ("compress --output o --generator g --rho 1 --seed -1", "seed must be at least 0, got -1"),
        ("compress --output o --generator g --rho 1 --threads 100000", "threads must be at most"),
        ("compress --output o --generator g --rho 1 --size 1000000", "size must be at most 8,192"),
        ("compress --output o --generator g --rho 1 --steps 1" + "0" * 30, "steps must be at most"),
        ("compress --output o --generator g --rho 1 --batch-size 99999999999", "batch_size must"),
        ("compress --output o --generator g --rho 1 --latents 99999999999", "latents must be at m"),
        ("compress --output o --generator g --rho inf", "--rho must be a number; got inf"),
        (
            "compress --output o --generator g --rho 1 --optimisation.lr nan",
            "lr must be a number; got nan",
        ),
        ("compress --output o --generator g --rho 1 --checkpoint-seconds -1", "0 or more, got -1"),
        ("compress --output o --generator g --rho 1 --checkpoint-seconds nan", "a number; got nan"),
        ("compress --output o --config /dev/zero", "/dev/zero is no regular file"),
        ("inspect cartoongan --size 1000000", "size must be at most 8,192, got 1000000"),
        ("inspect cartoongan:/dev/zero", "weights file /dev/zero is no regular file"),
        ("export cartoongan --output g.onnx --size 1000000", "size must be at most 8,192"),
        ("benchmark cartoongan --threads 100000", "threads must be at most 1,024"),
        ("translate cartoongan /dev/zero --output o", "/dev/zero is no regular file"),
        ("translate cartoongan a.png --output o --threads 100000", "threads must be at most"),
        ("sample sngan --output g.png --count 99999999999", "count must be at most"),
        ("sample sngan --output g.png --seed " + str(2**70), "seed must be at most"),
        ("evaluate cartoongan --workers 100000", "workers must be at most 1,024"),
    ],
)
def test_a_mistake_is_one_line(line: str, text: str, capsys: Capture) -> None:
    assert text in mistake(capsys, *line.split())


def test_bits_out_of_range(capsys: Capture) -> None:
    line = "compress --output o --generator cartoongan --data . --budget.macs 0.1 --bits 9"
    assert "bits must be 2 to 8, or none, got 9" in mistake(capsys, *line.split())


def test_wrong_keys_in_the_config_file(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "run.yaml"
    for content, text in (
        ("stps: 3", "no setting 'stps', which --config names; did you mean steps?"),
        ("optimisation: {slimshare: 3}", "no setting 'slimshare'"),
        ("steps: [", "config"),
        ("size: big", "--size must be a whole number; got big"),
        ("size: null", "size has no value; leave it out to get the default"),
        ("budget: {macs: 0.1}\noptimisation: {lr: null}", "optimisation.lr has no value"),
        ("budget: 256", "budget is a group of settings, one below the other; got 256"),
        ("optimisation: 1.0e+308", "optimisation is a group of settings"),
        ("memory: null", "memory is a group of settings"),
    ):
        file.write_text(content)
        assert text in mistake(capsys, "compress", "--output", "o", "--config", str(file))


def fails_with(error: BaseException) -> object:
    def command() -> dict[str, object]:
        """Fails."""
        raise error

    return command


def test_exit_statuses(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for error, status, text in (
        (UserError("wrong\nthing"), 2, "error: wrong thing\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (ZeroDivisionError("x"), 1, "error: ZeroDivisionError: x; please report this; run with"),
    ):
        monkeypatch.setitem(COMMANDS, "fail", fails_with(error))
        assert text in mistake(capsys, "fail", status=status)


def test_the_traceback_is_there_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(COMMANDS, "fail", fails_with(ZeroDivisionError("x")))
    monkeypatch.setenv("GAN_SLIMMING_TRACEBACK", "1")
    assert main(["fail"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_stdout_holds_the_json_alone(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def chatty() -> dict[str, object]:
        """Prints."""
        print("from some library")
        return {"path": Path("a"), "nan": float("nan"), "list": (1, None, True)}

    monkeypatch.setitem(COMMANDS, "chatty", chatty)
    assert main(["chatty"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"path": "a", "nan": None, "list": [1, None, True]}
    assert err == "from some library\n"


QUICK = [sys.executable, "-c", """
import sys
from gan_slimming.cli import COMMANDS, main
def quick():
    \'\'\'Says something on both streams, without torch.\'\'\'
    print("said")
    return {"a": 1}
COMMANDS["quick"] = quick
sys.exit(main(["quick"]))
"""]  # fmt: skip


@pytest.mark.parametrize("stdout", ["/dev/full", "a closed pipe"])
def test_a_result_that_nobody_can_take_is_one_line(stdout: str, tmp_path: Path) -> None:
    if stdout == "/dev/full":
        out = open(stdout, "w")  # noqa: SIM115
    else:
        reading, writing = os.pipe()
        os.close(reading)
        out = os.fdopen(writing, "w")
    with out:
        done = subprocess.run(QUICK, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the result cannot be written to stdout (")


def test_a_closed_stdout_is_no_error() -> None:
    done = subprocess.run(
        f"{shlex.join(QUICK)} 1>&-", shell=True, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "said\n")


def test_a_closed_stderr_is_no_error() -> None:
    """Tables and warnings go there."""
    command = (
        f"""{sys.executable} -m gan_slimming inspect dcgan --generator-args '{{"width": 2}}' 2>&-"""
    )
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["macs"] > 0


def test_what_the_disk_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def full(*_: object, **__: object) -> dict[str, object]:
        raise OSError(28, "No space left on device", "out/x.png")

    monkeypatch.setitem(COMMANDS, "demo", functools.wraps(COMMANDS["demo"])(full))
    assert main(["demo"]) == 2
    told = capsys.readouterr().err
    assert told == "error: No space left on device (out/x.png); make room, or name another place\n"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_system_takes_is_one_line(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    for place in (str(tmp_path / name), str(tmp_path)):
        output = tmp_path / "out" if name in place else tmp_path / name
        assert main(["translate", "cartoongan", place, "--output", str(output)]) == 2
        told = capsys.readouterr().err.splitlines()
        assert sum(line.startswith("error: ") for line in told) == 1
        assert "please report" not in told[-1]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce] can't allocate memory")])
def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, error: Exception
) -> None:
    def large(*_: object, **__: object) -> dict[str, object]:
        raise error

    monkeypatch.setitem(COMMANDS, "demo", functools.wraps(COMMANDS["demo"])(large))
    assert main(["demo"]) == 2
    assert capsys.readouterr().err.startswith("error: there is not enough memory for this")
