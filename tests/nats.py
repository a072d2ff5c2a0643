"""Whether tests may do without a NATS server."""

import os
from typing import Final

# The tests hide settings of the environment from the hub: read before that.
REQUIRED: Final = os.environ.get("KLINEHUB_REQUIRE_NATS", "") not in {"", "0"}
