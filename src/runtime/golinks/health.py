"""Exit status 0 if the service in this container answers."""

import sys
import urllib.request

from golinks.web import PORT

try:
    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=1).close()
except OSError as error:
    sys.exit(f"not healthy: {error}")
