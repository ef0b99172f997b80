"""The real chat program in a pseudo-terminal."""

import os
import pty
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.timeout(60)
PROGRAM = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from turnwise.cli.main import main
main()
"""
PROMPT = b"\x1b[0m>\x1b[0m"  # with the escape sequences of prompt_toolkit


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, *arguments):
        self.terminal, program_side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            stdin=program_side, stdout=program_side, stderr=program_side, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        os.close(program_side)
        os.set_blocking(self.terminal, False)
        self.output = b""

    def type(self, text):
        self.output = b""
        os.write(self.terminal, text.encode())

    def wait_until(self, condition, seconds=180):
        deadline = time.monotonic() + seconds
        while not condition(self.output):
            assert time.monotonic() < deadline, self.output[-500:]
            try:
                self.output += os.read(self.terminal, 65536)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # the program has exited
                return

    def wait(self):
        self.wait_until(lambda _: self.process.poll() is not None)
        os.close(self.terminal)
        return self.process.wait(5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_quits(talkative_folder, tmp_path):
    terminal = Terminal("chat", talkative_folder, "--temperature", "0")
    try:
        terminal.wait_until(lambda output: PROMPT in output)
        terminal.type("hello\r")
        terminal.wait_until(lambda output: len(output) > 400)
        terminal.type("\x03")
        terminal.wait_until(lambda output: PROMPT in output.partition(b"(stopped)")[2])
        terminal.type("/history\r")
        terminal.wait_until(lambda output: PROMPT in output.partition(b"assistant")[2])
        terminal.type("\x04")
        assert terminal.wait() == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
    assert b"Goodbye." in terminal.output
    assert b"Traceback" not in terminal.output
    history = tmp_path / "home" / "history"
    assert "+hello" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600
