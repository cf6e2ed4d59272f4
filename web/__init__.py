"""The page to try ResHalf on, served on this machine only: what its buttons do, what it shows, how it is laid out.

gradio, the Hugging Face client and FastAPI are told to report to nobody, before they are imported and whatever the
environment says.
"""

import os

os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "FASTAPI_OTEL_AUTO_CONFIGURE": "false",
    "OTEL_SDK_DISABLED": "true",
}
