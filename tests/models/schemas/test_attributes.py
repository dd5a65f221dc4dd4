from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501, SCHEMAS, resolve_schema
from vestigo_models.schemas.regions import REGIONS

GOOD = """
name: shop
attributes:
  - name: gender
    values: [male, female]
  - name: apron
    title: Wears an apron
    values: ["no", "yes"]
    regions: [upper, lower]
  - name: top_colour
    values: [black, white, red]
    fields: [topblack, topwhite, topred]
"""


def test_published_sizes() -> None:
    for schema, sizes in ((MARKET_1501, (12, 27, 39)), (DUKEMTMC_REID, (10, 23, 31))):
        assert (len(schema), sum(len(a.fields) for a in schema.attributes), schema.classes) == sizes
    assert {schema.name for schema in SCHEMAS.values()} == {"market-1501", "dukemtmc-reid"}


def test_market_attributes_are_in_reporting_order() -> None:
    assert MARKET_1501.names == (
        "gender", "age", "hair", "sleeve", "lower_length", "lower_type",
        "backpack", "handbag", "bag", "hat", "upper_colour", "lower_colour",
    )  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_slices_tile_the_class_vector(schema: AttributeSchema) -> None:
    covered = [position for name in schema.names for position in range(schema.classes)[schema.slice(name)]]
    assert covered == list(range(schema.classes))
    assert [schema.slice(name).start for name in schema.names] == list(schema.offsets)
    assert [schema.index(name) for name in schema.names] == list(range(len(schema)))


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_dict_round_trip(schema: AttributeSchema) -> None:
    again = AttributeSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema
    assert again.digest == schema.digest


def test_digest_ignores_titles() -> None:
    data = MARKET_1501.to_dict()
    data["attributes"][0]["title"] = "Sex"
    assert AttributeSchema.from_dict(data).digest == MARKET_1501.digest
    data["attributes"][0]["values"].reverse()
    assert AttributeSchema.from_dict(data).digest != MARKET_1501.digest


def test_parse_conditions() -> None:
    assert MARKET_1501.parse(" gender = female,backpack=yes") == {"gender": "female", "backpack": "yes"}


def test_parse_reports_all_mistakes() -> None:
    with pytest.raises(ConfigError) as caught:
        MARKET_1501.parse("gender,shoes=dark,hat=maybe,bag=no,bag=yes")
    for part in ("'gender' is not of the form", "'shoes'", "'maybe'", "bag is given twice"):
        assert part in str(caught.value)


def test_unknown_attribute_is_named() -> None:
    with pytest.raises(ConfigError, match="'boots'"):
        MARKET_1501.slice("boots")


def test_own_schema_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(GOOD)
    schema = AttributeSchema.from_yaml(path)
    assert schema.names == ("gender", "apron", "top_colour")
    assert schema["top_colour"].fields == ("topblack", "topwhite", "topred")
    assert schema.classes == 7
    assert schema["apron"].title == "Wears an apron"
    assert schema["gender"].fields == ("gender",)
    assert schema["top_colour"].multi_field
    assert [attribute.regions for attribute in schema.attributes] == [("foreground",), ("upper", "lower"), ()]
    assert AttributeSchema.from_dict(schema.to_dict()) == schema


def test_builtin_digests_are_fixed() -> None:
    assert MARKET_1501.digest == "1ae9815909884b615b5816bff137a8548097760ef704c42dcddeca3098d84bc2"
    assert DUKEMTMC_REID.digest == "360b5d95c108f5e820a0f58af184af5f97fbf6951006c23a33f70f5b0a88c075"


def test_schemas_saved_without_regions_read_the_same_regions() -> None:
    expected = {
        "gender": ("foreground",), "age": ("foreground",), "hair": ("head",), "sleeve": ("upper",),
        "lower_length": ("lower",), "lower_type": ("lower",), "backpack": ("belongings", "upper"),
        "handbag": ("belongings", "upper"), "bag": ("belongings", "upper"), "hat": ("head",),
        "upper_colour": ("upper",), "lower_colour": ("lower",),
    }  # fmt: skip
    data = MARKET_1501.to_dict()
    assert {entry["name"]: tuple(entry.pop("regions")) for entry in data["attributes"]} == expected
    assert AttributeSchema.from_dict(data) == MARKET_1501
    duke = {attribute.name: attribute.regions for attribute in DUKEMTMC_REID.attributes}
    assert duke == {name: duke[name] for name in ("backpack", "handbag", "bag")} | {
        "gender": ("foreground",), "hat": ("head",), "boots": ("shoes",), "upper_length": ("upper",),
        "shoe_colour": ("shoes",), "upper_colour": ("upper",), "lower_colour": ("lower",),
    }  # fmt: skip
    assert duke["bag"] == duke["handbag"] == duke["backpack"] == ("belongings", "upper")


def test_resolve_schema_by_name_or_file(tmp_path: Path) -> None:
    assert resolve_schema("market1501") is resolve_schema("market-1501") is MARKET_1501
    assert resolve_schema("dukemtmc") is DUKEMTMC_REID
    (tmp_path / "shop.yaml").write_text(GOOD)
    assert resolve_schema(tmp_path / "shop.yaml").name == "shop"
    with pytest.raises(ConfigError, match=r"unknown attribute schema 'market'; give market1501, dukemtmc or a file"):
        resolve_schema("market")


def test_all_mistakes_are_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        """
attribute_list: []
attributes:
  - {name: gender, values: [male]}
  - {name: bag, values: [no, yes], regions: [upper, bag]}
  - {name: colour, values: [red, blue, red], fields: [a, b]}
  - {name: gender, values: [x, y], colour: 3}
  - 7
"""
    )
    with pytest.raises(ConfigError) as caught:
        AttributeSchema.from_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"attribute schema {path}: ")
    assert "\n" not in message
    for part in (
        "key 'name' is missing",
        "unknown key 'attribute_list'",
        "attributes[0].values: expected a list of at least 2",
        "a bare no is a truth value",
        "a bare yes is a truth value",
        "'red' occurs twice",
        "2 fields for 3 values",
        "attributes[1].regions: unknown region 'bag'",
        "unknown key 'colour'",
        "attributes[4]: expected keys",
        "attribute 'gender' occurs twice",
    ):
        assert part in message


@pytest.mark.parametrize("text", ["", "- 1\n- 2", "name: [", "name: 3\nattributes: red"])
def test_file_without_schema_raises(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        AttributeSchema.from_yaml(path)


def test_unreadable_schema_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        AttributeSchema.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="binary"):
        AttributeSchema.from_yaml(tmp_path / "binary.yaml")


def test_yaml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "market.yaml"
    path.write_text(yaml.safe_dump(MARKET_1501.to_dict()))
    assert AttributeSchema.from_yaml(path) == MARKET_1501


def test_regions() -> None:
    assert REGIONS.names == ("background", "head", "upper", "lower", "shoes", "belongings")
    assert [region.id for region in REGIONS.regions] == list(range(6))
    assert len({region.colour_rgb for region in REGIONS.regions}) == 6
    assert REGIONS.to_dict()["regions"][5] == {"id": 5, "name": "belongings", "colour_rgb": [213, 94, 0]}
