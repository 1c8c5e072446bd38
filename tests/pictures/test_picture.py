import base64

from dagster import MarkdownMetadataValue

from signal_assets.materialization import picture_metadata
from signal_assets.picture import Picture

PICTURE = Picture("price_BTC", "BTC on a day", b"\x89PNG and more")


def test_markdown_holds_the_picture_itself():
    text = PICTURE.markdown
    assert text.startswith("![BTC on a day](data:image/png;base64,")
    assert base64.b64decode(text.partition("base64,")[2].removesuffix(")")) == PICTURE.png


def test_each_picture_is_an_entry_of_its_own():
    entries = picture_metadata([PICTURE, Picture("price_ETH", "ETH on a day", b"")])
    assert list(entries) == ["picture_price_BTC", "picture_price_ETH"]
    assert isinstance(entries["picture_price_BTC"], MarkdownMetadataValue)
