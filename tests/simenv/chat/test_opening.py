"""A model's options are checked where it is named, before anybody is asked."""

from typing import Any

import pytest

from simenv.chat.opening import open_model
from simenv.errors import SimenvError


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"slots": 0}, "slots is 0; it must be a whole number, at least 1"),  # nobody would ever be asked
        ({"slots": "8"}, "slots is '8'; it must be a whole number"),
        ({"timeout": "1e3"}, "timeout is '1e3'; it must be a number, above 0"),  # as YAML reads 1e3
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"attempts": 0}, "attempts is 0; it must be a whole number, at least 1"),
        ({"temperature": -1}, "temperature is -1; it must be a number, at least 0"),
        ({"seed": "no"}, "seed is 'no'; it must be true, to send each answer's own seed, or false"),
        ({"ways": "schema"}, "ways are decisions, schema, tool, json, a list of at least one of them, not 'schema'"),
        ({"model": 4}, "model is 4; it must be the name of one"),
        ({"extra": {"top_p": float("nan")}}, "extra is {'top_p': nan}; it must be a mapping that JSON can hold"),
        ({"budget": 500}, "budget is 500; it must be a mapping, such as budget: {tokens: 1000000}"),
        ({"budget": {"tokens": "1e6"}}, "budget: tokens is '1e6'; it must be a whole number, at least 0"),
        ({"budget": {"seconds": float("nan")}}, "budget: seconds is nan"),
        ({"prices": {"tokens_in": -1, "tokens_out": 1}}, "prices: tokens_in is -1; it must be a number, at least 0"),
    ],
)
def test_an_option_of_an_endpoint_that_cannot_be_is_told(options: dict[str, Any], wrong: str):
    with pytest.raises(SimenvError, match=wrong):
        open_model({"kind": "endpoint", "model": "any", "base_url": "http://127.0.0.1:9/v1"} | options)


@pytest.mark.parametrize("told", [5, None, ["scripted"], {"kind": ["endpoint"]}, {}])
def test_what_names_no_model_is_told(told: Any):
    with pytest.raises(SimenvError, match=r"model(:| is) .*there are scripted|it must be a kind \(scripted, endpoint"):
        open_model(told)
