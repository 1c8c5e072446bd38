"""What can go wrong between us and an exchange, typed, each with one clear line.

Belongs here: the errors every venue adapter raises. Does not belong here: malformed market messages
(``signal_assets.market.messages``), which never stop a feed.
"""


class ExchangeError(RuntimeError):
    """Base of everything an exchange adapter raises about its connection."""


class ExchangeUnavailableError(ExchangeError):
    """The exchange did not answer usably, also after the retries."""


class ExchangeRefusedError(ExchangeError):
    """The exchange answered and refused the request; asking again the same way will not help."""


class FeedDisconnectedError(ExchangeError):
    """The stream was lost; connect again."""


class FeedEndedError(ExchangeError):
    """The venue says that its recording has been served to the end."""
