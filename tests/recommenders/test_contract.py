"""Every policy keeps to the contract."""

from pathlib import Path

import pytest

from simenv.checks import PolicyChecks
from simenv.errors import SimenvError
from simenv.recommenders.bpr import BPR
from simenv.recommenders.ease import Ease
from simenv.recommenders.ials import IALS
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.lightgcn import LightGCN
from simenv.recommenders.multvae import MultVAE
from simenv.recommenders.oracle import AntiOracle, Oracle
from simenv.recommenders.pop import Pop
from simenv.recommenders.random import Random
from simenv.recommenders.sasrec import SASRec
from simenv.recommenders.unisrec import UniSRec
from simenv.recommenders.vqrec import VQRec
from simenv.store import save_policy


class TestRandom(PolicyChecks):
    make = Random


class TestPop(PolicyChecks):
    make = Pop


class TestItemKNN(PolicyChecks):
    make = ItemKNN


class TestFewNeighbours(PolicyChecks):
    def make(self) -> ItemKNN:
        return ItemKNN(neighbours=3)


class TestEase(PolicyChecks):
    make = Ease


class TestOracle(PolicyChecks):
    def make(self) -> Oracle:
        return Oracle(self.world().truth)

    def test_saved_and_loaded_it_shows_the_same(self, tmp_path: Path) -> None:
        """It is told that the truth is not kept."""
        with pytest.raises(SimenvError, match="Oracle cannot be saved: its option truth is a Truth"):
            save_policy(self.policy(), tmp_path / "kept")


class TestAntiOracle(TestOracle):
    def make(self) -> AntiOracle:
        return AntiOracle(self.world().truth)


class TestBPR(PolicyChecks):
    def make(self) -> BPR:
        return BPR(dimensions=8, epochs=3)


class TestIALS(PolicyChecks):
    def make(self) -> IALS:
        return IALS(dimensions=8, epochs=2)


class TestLightGCN(PolicyChecks):
    def make(self) -> LightGCN:
        return LightGCN(dimensions=8, epochs=2, negatives=32, batch_size=256)


class TestLightGCNByPairs(PolicyChecks):
    def make(self) -> LightGCN:
        return LightGCN(dimensions=8, layers=2, loss="bpr", epochs=2, batch_size=256)


class TestMultVAE(PolicyChecks):
    def make(self) -> MultVAE:
        return MultVAE(hidden=16, latent=4, epochs=2, batch_size=16)


class TestSASRec(PolicyChecks):
    def make(self) -> SASRec:
        return SASRec(dimensions=8, window=12, epochs=2, batch_size=256)


class TestSASRecAgainstAll(PolicyChecks):
    def make(self) -> SASRec:
        return SASRec(dimensions=8, layers=2, heads=2, window=40, loss="gbce", negatives=0, epochs=1)


class TestUniSRec(PolicyChecks):
    def make(self) -> UniSRec:
        return UniSRec(experts=2, text_dimensions=16, dimensions=8, window=12, epochs=1)


class TestVQRec(PolicyChecks):
    def make(self) -> VQRec:
        return VQRec(parts=4, codes=8, text_dimensions=16, dimensions=8, window=12, epochs=1)
