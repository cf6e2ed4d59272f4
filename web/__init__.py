"""The web page that app.py serves, to this machine only.

Switches off the telemetry of gradio, the Hugging Face client and FastAPI before they are imported, and overrides
environment variables that enable it.
"""

import os

os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "FASTAPI_OTEL_AUTO_CONFIGURE": "false",
    "OTEL_SDK_DISABLED": "true",
}
