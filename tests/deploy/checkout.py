"""Run the deployment script in a copy of the deployment files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import zipfile

from deploy.sources import RECORD

FORKS = """
import json, os, runpy, sys
import samtranslator.translator.transform, samtranslator.yaml_helper
for line in sys.stdin:
    given = json.loads(line)
    child = os.fork()
    if not child:
        folder, written = os.open(given["cwd"], 0), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for number, name, how in ((0, "stdin", os.O_RDONLY), (1, "stdout", written), (2, "stderr", written)):
            os.dup2(os.open(name, how, dir_fd=folder), number)
        sys.stdin = os.fdopen(0)
        os.chdir(given["cwd"])
        os.environ.clear()
        os.environ.update(given["environ"])
        sys.argv = ["deploy.release", *given["arguments"]]
        runpy.run_module("deploy.release", run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Checkout:
    """A copy of the deployment files together with a build."""

    def __init__(self, folder, forks, sources):
        self.folder, self.forks, self.sources = folder, forks, sources
        self.build(183)

    def build(self, machine, *files):
        """Write both zips and the record of their sources.

        ``machine`` is the architecture's code in the ELF header of the library.
        """
        package = self.folder / "build" / "package"
        package.mkdir(parents=True, exist_ok=True)
        (package / RECORD).write_text(self.sources, "utf-8")
        for name in ("code.zip", "dependencies.zip"):
            with zipfile.ZipFile(package / name, "w") as archive:
                archive.writestr("python/library.so", b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little"))
                for file in files:
                    archive.writestr(file, "")

    def edit(self, name, before, after):
        """Replace a string in a file."""
        path = self.folder / name
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, after), "utf-8")

    def name_real_resources(self):
        """Replace every example in the configuration, as an operator does before the first deployment."""
        path = self.folder / "deploy" / "samconfig.toml"
        text = re.sub(r"subnet-example([ab])", r"subnet-0a1b2c3\1", path.read_text("utf-8"))
        text = re.sub(r"(vpc|sg)-example[a-z]*", r"\1-0a1b2c3d", text)
        path.write_text(text.replace("example", "shop").replace("111122223333", "444455556666"), "utf-8")

    def configure(self, environment, *entries):
        """Write entries into an environment's list of parameters. A new entry replaces an entry with the same name."""
        path = self.folder / "deploy" / "samconfig.toml"
        before, section, after = path.read_text("utf-8").partition(f"[{environment}.deploy.parameters]")
        for entry in entries:
            name, equals, _ = entry.partition("=")
            twice = entry == "VpcId=vpc-0a1b2c3d"
            lines = after.split("\n")
            end = lines.index("]")
            lines[:end] = [line for line in lines[:end] if twice or not line.startswith(f'  "{name}=')]
            after = "\n".join(lines)
            if equals or " " in entry:
                after = after.replace("parameter_overrides = [", f'parameter_overrides = [\n  "{entry}",', 1)
        path.write_text(before + section + after, "utf-8")

    def deploy(self, *arguments, environ=None, stdin=""):
        """Run the deployment script as `make deploy` does."""
        (self.folder / "stdin").write_text(stdin, "utf-8")
        given = {"cwd": str(self.folder), "arguments": arguments, "environ": environ or {}}
        self.forks.stdin.write(json.dumps(given) + "\n")
        code = int(self.forks.stdout.readline())
        stdout, stderr = ((self.folder / name).read_text("utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)

    def planned(self, *arguments):
        """Return the commands that the deployment script would run, each as a list of words."""
        done = self.deploy(*arguments, "--print")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.replace(" \\\n", " ").splitlines()
        return [shlex.split(line) for line in lines if not line.startswith("#")]

    def given(self, *arguments):
        """Return the parameters of the last planned command, without the quotes that SAM requires."""
        command = self.planned(*arguments)[-1]
        pairs = command[command.index("--parameter-overrides") + 1 :]
        return {name: value.strip('"') for name, value in (pair.split("=", 1) for pair in pairs)}
