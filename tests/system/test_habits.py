"""What runs this project elsewhere says the same as what runs it here: versions, checks, programs that are named."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.system.security.test_supply_chain import VERSIONS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/tests.yml"
RELEASE = ROOT / ".github/workflows/release.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
FORM = ROOT / ".github/ISSUE_TEMPLATE/bug.yml"
FILES = [WORKFLOW, HOOKS, FORM, ROOT / ".github/dependabot.yml", RELEASE]


def test_every_python_that_is_admitted_is_tried_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'^requires-python = "(.*)"$', project, re.MULTILINE) == [">=3.10"]
    admitted = list(VERSIONS)
    assert admitted[0] == "3.10" and re.findall(r"Python :: (3\.\d+)", project) == admitted
    matrices = [re.findall(r'"(.*?)"', row) for row in re.findall(r"^ +python: \[(.*)\]$", WORKFLOW.read_text(), re.M)]
    assert matrices == [admitted, admitted]
    from scripts import _dependencies

    assert list(_dependencies.PYTHONS) == admitted


def test_the_workflow_starts_what_is_there() -> None:
    """On Linux the very program; elsewhere the option that a test holds to what those systems have."""
    text = WORKFLOW.read_text()
    assert re.findall(r"- run: (.*)", text) == [
        ".ci/run",
        "python -m pip install -e .[test]",
        "python -m pytest --quick",
    ]
    run = ROOT / ".ci/run"
    assert sys.platform == "win32" or run.stat().st_mode & 0o111
    assert "exec sh scripts/test </dev/null" in run.read_text()


def test_the_hooks_are_the_checks_of_the_test_command() -> None:
    checks = re.findall(r"^check (.*)$", (ROOT / "scripts/test").read_text(), re.MULTILINE)
    assert checks == ["ruff check --quiet .", "ruff format --check --quiet .", "mypy"]
    hooks = re.findall(r"^ +entry: \.venv/bin/python -m (.*)$", HOOKS.read_text(), re.MULTILINE)
    assert hooks == ["ruff check", "ruff format", "mypy"]


def test_the_form_asks_for_what_the_doctor_says() -> None:
    assert "`cryptnoxctl doctor --json`" in FORM.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_place_is_named(path: Path) -> None:
    """Where this project and its packages are kept is said nowhere."""
    assert not re.search(r"://|www\.|@[\w.-]+\.\w|registr", path.read_text())


def test_they_are_what_their_readers_take() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (it comes with the extra docs)")
    workflow, hooks, form, updates, release = (yaml.safe_load(path.read_text()) for path in FILES)
    ends = {name: job["steps"][-1]["run"] for name, job in workflow["jobs"].items()}
    assert ends == {"linux": ".ci/run", "elsewhere": "python -m pytest --quick"}
    assert workflow["permissions"] == release["permissions"] == {"contents": "read"}
    [local] = hooks["repos"]
    assert local["repo"] == "local" and {hook["language"] for hook in local["hooks"]} == {"system"}
    assert {"name", "description", "body"} <= form.keys()
    assert [part["validations"]["required"] for part in form["body"] if part["type"] != "markdown"] == [True, True]
    assert updates["version"] == 2
    assert {update["package-ecosystem"] for update in updates["updates"]} == {"pip", "github-actions"}
