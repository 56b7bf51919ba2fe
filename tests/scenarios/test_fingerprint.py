"""What is kept is known by all the code that it follows from: one changed file anywhere is another key."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOUCHED = (
    "simenv/language/llama.py",
    "simenv/chat/replies.py",
    "simenv/agents/prompts/page.txt",
    "simenv/recommenders/generative/trie.py",
    "simenv/fidelity/dose.py",
    "plugged/deep/inner.py",
)
SCRIPT = """
import sys
from pathlib import Path
from simenv.agents.choice import ChoicePopulation
from simenv.films import films_world
from simenv.recommenders.pop import Pop
from simenv.scenarios import fidelity, fingerprint, fitted
from simenv.scenarios.scenario import scenario_of
from simenv.scenarios.stage import set_stage
from simenv.splits import leave_one_out
import plugged

site = Path(sys.argv[1])
split = leave_one_out(films_world(users=20, items=30).dataset)
told = {"name": "a", "dataset": {"name": "films", "users": 20, "items": 30}, "policies": ["pop"]}
stage = set_stage(scenario_of(told | {"population": "plugged:Users"}))
for touched in ["", *sys.argv[2:]]:
    if touched:
        file = site / touched
        file.write_text(file.read_text() + "\\n# changed\\n")
    fingerprint._our_hash.cache_clear()
    print(
        fitted.fingerprint(plugged.Policy(), split, {}),
        fitted.population_fingerprint(plugged.Users(), "plugged:Users", split.train, {}),
        fidelity.fingerprint(stage, plugged.Users()),
    )
"""
PLUG_IN = """
from simenv.agents.choice import ChoicePopulation
from simenv.recommenders.pop import Pop

class Policy(Pop): pass
class Users(ChoicePopulation): pass
"""


def test_every_file_of_simenv_and_of_a_plug_ins_package_changes_the_keys(tmp_path: Path):
    site = tmp_path / "site"
    for room in ("simenv", "agents", "recommenders", "reports", "scenarios"):
        target = site / "simenv" / ("" if room == "simenv" else room)
        shutil.copytree(ROOT / room, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "plugged" / "deep").mkdir(parents=True)
    (site / "plugged" / "__init__.py").write_text(PLUG_IN)
    (site / "plugged" / "deep" / "inner.py").write_text("depth = 1")

    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, site, *TOUCHED],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert answer.returncode == 0, answer.stderr
    rows = [line.split() for line in answer.stdout.splitlines()]
    assert len(rows) == 1 + len(TOUCHED)
    for keys in zip(*rows, strict=True):
        assert "None" not in keys
        assert len(set(keys)) == len(rows)
