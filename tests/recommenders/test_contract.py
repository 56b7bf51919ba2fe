"""Every policy keeps to the contract."""

from simenv.checks import PolicyChecks
from simenv.recommenders.ease import Ease
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.oracle import AntiOracle, Oracle
from simenv.recommenders.pop import Pop
from simenv.recommenders.random import Random


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


class TestAntiOracle(PolicyChecks):
    def make(self) -> AntiOracle:
        return AntiOracle(self.world().truth)
