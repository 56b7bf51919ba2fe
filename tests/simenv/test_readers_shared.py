"""The logged data sets that lie beside the repository, where they do."""

from pathlib import Path

import pytest

from simenv.readers import read

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
COUNTS = {
    "ml-1m": (6_040, 3_883, 1_000_209),
    "ml-100k": (943, 1_682, 100_000),
    "coat": (290, 300, 11_600),
    "amazon-games": (50_546, 16_859, 452_986),
    "amazon-beauty": (22_363, 12_101, 198_502),
    "gowalla": (29_858, 40_981, 1_027_370),
    "steam": (12_393, 5_155, 128_804),
    "lastfm-sdpo": (976, 4_606, 50_800),
}


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} beside the repository")
    return DATA / name


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_published(name: str):
    dataset = read(folder(name))

    assert (len(dataset.users), len(dataset.catalog), len(dataset.interactions)) == COUNTS[name]


@pytest.mark.parametrize("variant", ["dense", "sparse"])
def test_each_variant_of_agentcf_has_a_hundred_users(variant: str):
    dataset = read(folder("agentcf-cds"), where={"variant": variant})

    assert (len(dataset.users), len(dataset.interactions)) == (100, 800)


def test_the_published_splits_of_ml_1m_have_their_sizes():
    published = read(folder("ml-1m")).published

    assert [int((published["agent4rec"] == word).sum()) for word in ("train", "valid", "test")] == [
        74_271,
        55_486,
        55_492,
    ]
    assert [int((published["split"] == word).sum()) for word in ("valid", "test")] == [6_040, 6_040]
