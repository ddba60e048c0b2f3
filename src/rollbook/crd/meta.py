"""What the models of our custom resources have in common."""

from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP: Final = "rollbook.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

SCHEMA_VERSION: Final = 1
"""The version of our schemas, on the CRDs (label `rollbook.dev/schema-version`) and in every slot."""


class CrdModel(BaseModel):
    """A part of a custom resource: camelCase outside, unknown fields kept, never changed in place."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)
