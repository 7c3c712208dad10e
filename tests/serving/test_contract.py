"""The service conforms to its OpenAPI schema, and never responds with 5xx."""

import warnings

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies
    import schemathesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance


@pytest.fixture(scope="module")
def document(address):
    return httpx.get(f"{address}/openapi.json", timeout=60).json()


PATHS = [
    "/v1/info", "/v1/tags", "/v1/tracks", "/v1/tracks/{track_id}", "/v1/tracks/{track_id}/similar",
    "/v1/tracks/{track_id}/audio", "/v1/map", "/v1/map/tracks", "/v1/map/rows", "/v1/map/tags/{code}",
    "/v1/feedback", "/v1/review", "/v1/tag", "/v1/similar", "/v1/search", "/v1/neighbours", "/v1/session",
]  # fmt: skip


@pytest.mark.parametrize("path", [*PATHS, "/healthz", "/readyz", "/metrics"])
def test_responses_conform_to_the_schema(path, address, document):
    schema = schemathesis.openapi.from_dict(document)
    for method in document["paths"][path]:

        @settings(max_examples=15, suppress_health_check=list(HealthCheck), database=None)
        @given(case=schema[path][method.upper()].as_strategy())
        def answered(case):
            # A schema cannot express that bytes are not music or that a tag is unknown; the response is then 422.
            case.call_and_validate(base_url=address, timeout=30, excluded_checks=[positive_data_acceptance])

        answered()


def test_the_schema_has_examples_and_all_routes(document):
    paths = {path for path in document["paths"] if path.startswith("/v1/")}
    assert paths == set(PATHS)
    assert document["components"]["schemas"]["Track"]["example"]["artist"]
    assert document["components"]["schemas"]["CorrectionIn"]["example"]["verdict"] == "accept"
    assert "multipart/form-data" in document["paths"]["/v1/tag"]["post"]["requestBody"]["content"]
