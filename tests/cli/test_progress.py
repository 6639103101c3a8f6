"""The progress of a training: a bar on a terminal, silence elsewhere."""

import io

from rich.console import Console

from gan_slimming.cli.progress import step_bar


def shown(terminal: bool) -> str:
    stream = io.StringIO()
    with step_bar(Console(file=stream, force_terminal=terminal, width=120)) as on_step:
        on_step(1, 4, {"distill": 0.5})
        on_step(4, 4, {"distill": 0.125, "macs": 1e9})
    return stream.getvalue()


def test_a_terminal_sees_steps_and_terms() -> None:
    text = shown(terminal=True)
    assert "4/4" in text
    assert "distill 0.125 macs 1e+09" in text


def test_nothing_is_written_elsewhere() -> None:
    assert shown(terminal=False).strip() == ""
