#!/bin/sh
# Whether the framework in this container works: its process, its port, and what it says about its plugins.
# One line says what is wrong; `docker inspect` keeps it.
set -u

port=${FIT_HTTP_PORT:-8080}
url=http://127.0.0.1:$port/actuator/plugins

unhealthy() {
    echo "unhealthy: $*"
    exit 1
}

# No system has to bring a program for this.
grep -qsx java /proc/[0-9]*/comm || unhealthy "no java process"

answer=$(curl --silent --output /dev/null --max-time 8 --write-out '%{http_code}' "$url")
ended=$?
case $ended in
    0) ;;
    7) unhealthy "nothing listens on port $port" ;;
    *) unhealthy "$url does not answer (curl ended with status $ended)" ;;
esac
[ "$answer" = 200 ] || unhealthy "$url answers $answer"
echo "healthy"
