"""What can go wrong with the platform, each as one clear line."""


class PlatformError(RuntimeError):
    """The platform cannot start or go on; the message is one line that says what to do."""


class HomeInUseError(PlatformError):
    """Another platform runs on this home."""


class StartInterruptedError(PlatformError):
    """Somebody asked the platform to stop while it was starting."""
