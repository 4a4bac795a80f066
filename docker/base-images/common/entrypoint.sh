#!/bin/sh
# What a container of a FIT image runs first, as process 1. `fit start` is looked after: settings from the environment,
# a configuration on the first start, a remote registry waited for, a graceful stop. Anything else is run as it is.
set -eu

home=${FIT_HOME:-/opt/fit-framework}/java
config=$home/conf/fitframework.yml

say() {
    echo "fit-framework: $*"
}

# Exit status 64: the container was asked for something that cannot be (sysexits.h, EX_USAGE).
refuse() {
    echo "fit-framework: $*" >&2
    exit 64
}

usage() {
    cat <<'TEXT'
docker run [-e NAME=VALUE]... IMAGE [COMMAND]

COMMAND
  fit start [-JVM_OPTION]... [key=value]...   start the framework (what happens without a COMMAND)
  fit help | fit version                      ask the framework itself
  anything else                               is run instead, a shell for one

NAME (default)
  FIT_HTTP_PORT (8080)                 port of the HTTP server
  FIT_WORKER_ID (fit-worker-HOSTNAME)  name of this worker, unique where workers meet
  FIT_REGISTRY_HOST (localhost)        registry of services; any host but this one is waited for
  FIT_REGISTRY_PORT (8080)             its port
  FIT_REGISTRY_WAIT (30)               how many seconds at most; the start goes on after that
  FIT_LOG_LEVEL (info)                 trace, debug, info, warn, error
  JAVA_OPTS                            options of the JVM, separated by spaces

FOLDERS below /opt/fit-framework/java to mount, owned by user 2000
  conf  plugins  dynamic-plugins  logs  data
TEXT
}

# number NAME VALUE MIN MAX
number() {
    case $2 in
        '' | *[!0-9]* | ??????*) refuse "$1 is \`$2\`; expected a number from $3 to $4" ;;
    esac
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        refuse "$1 is \`$2\`; expected a number from $3 to $4"
    fi
}

# word NAME VALUE: what may stand in a YAML file between quotes, in a URL, and among the words of a command.
word() {
    case $2 in
        '' | *[!A-Za-z0-9._:@-]*) refuse "$1 is \`$2\`; expected letters, digits and . _ : @ - only" ;;
    esac
}

read_settings() {
    http_port=${FIT_HTTP_PORT:-8080}
    worker_id=${FIT_WORKER_ID:-fit-worker-$(hostname)}
    registry_host=${FIT_REGISTRY_HOST:-localhost}
    registry_port=${FIT_REGISTRY_PORT:-8080}
    registry_wait=${FIT_REGISTRY_WAIT:-30}
    log_level=${FIT_LOG_LEVEL:-info}
    number FIT_HTTP_PORT "$http_port" 1 65535
    number FIT_REGISTRY_PORT "$registry_port" 1 65535
    number FIT_REGISTRY_WAIT "$registry_wait" 0 3600
    word FIT_WORKER_ID "$worker_id"
    word FIT_REGISTRY_HOST "$registry_host"
    case $log_level in
        trace | debug | info | warn | error) ;;
        *) refuse "FIT_LOG_LEVEL is \`$log_level\`; expected trace, debug, info, warn or error" ;;
    esac
}

write_config() {
    if [ -e "$config" ]; then
        say "configuration $config is there already; the environment comes before it"
        return
    fi
    # Beside it first: a start that is cut short leaves no half of it.
    if ! { cat >"$config.new" <<TEXT && mv "$config.new" "$config"; } then
application:
  name: 'fit-application'

worker:
  id: '$worker_id'
  host: '0.0.0.0'
  environment: 'prod'
  environment-sequence: 'prod'
  exit:
    graceful: true

matata:
  registry:
    host: '$registry_host'
    port: $registry_port
    protocol: 2
    environment: 'prod'

server:
  http:
    port: $http_port
TEXT
        refuse "cannot write $config: is the mounted folder owned by user $(id -u)?"
    fi
    say "configuration $config written"
}

registry_answers() {
    # Any answer counts, so only the time of the connection is asked for. It stays 0 when there was none.
    connected=$(curl --silent --output /dev/null --connect-timeout 1 --max-time 2 --write-out '%{time_connect}' \
        "http://$registry_host:$registry_port/" 2>/dev/null) || true
    case $connected in
        *[1-9]*) return 0 ;;
        *) return 1 ;;
    esac
}

await_registry() {
    case $registry_host in
        localhost | 127.0.0.1 | ::1) return ;;
    esac
    say "waiting up to $registry_wait s for the registry $registry_host:$registry_port"
    begin=$(date +%s)
    until registry_answers; do
        if [ $(($(date +%s) - begin)) -ge "$registry_wait" ]; then
            say "the registry $registry_host:$registry_port did not answer in $registry_wait s; starting without it"
            return
        fi
        sleep 1
    done
    say "the registry $registry_host:$registry_port answers"
}

# `fit` may be a script that does not pass signals on to the JVM, so it gets a process group, and the group the signals.
run() {
    stopping=
    setsid "$@" &
    child=$!
    trap 'stopping=yes; say "stopping"; signal TERM || kill -s TERM "$child" 2>/dev/null || true' TERM INT
    status=0
    # A trapped signal ends this `wait` too.
    wait "$child" || status=$?
    if [ -n "$stopping" ]; then
        await_end
        say "stopped"
        exit 0
    fi
    say "fit ended with status $status"
    # What it left behind is no service any more.
    if signal TERM; then await_end; fi
    exit "$status"
}

# signal NAME: to the whole group; false when nobody is left. (`-s` and `--` mean different things to dash and to busybox.)
signal() {
    kill "-$1" "-$child" 2>/dev/null
}

# `docker stop` waits for 10 s before it kills without a word.
await_end() {
    left=80
    while signal 0; do
        if [ "$left" -eq 0 ]; then
            say "still running after 8 s; killed"
            signal KILL || true
            return
        fi
        left=$((left - 1))
        sleep 0.1
    done
}

start() {
    shift 2
    trap 'say "stopped before the start"; exit 0' TERM INT
    read_settings
    write_config
    await_registry
    export LOG_HOME="$home/logs"
    cd "$home/dynamic-plugins"
    say "starting"
    # The framework takes system properties before its files, so what the environment says holds on every start, and
    # what it does not say is left to the files. log4j2.level counts where log4j has no configuration file of its own.
    [ -z "${FIT_LOG_LEVEL:-}" ] || set -- "-Dlog4j2.level=$log_level" "$@"
    [ -z "${FIT_REGISTRY_PORT:-}" ] || set -- "-Dmatata.registry.port=$registry_port" "$@"
    [ -z "${FIT_REGISTRY_HOST:-}" ] || set -- "-Dmatata.registry.host=$registry_host" "$@"
    [ -z "${FIT_WORKER_ID:-}" ] || set -- "-Dworker.id=$worker_id" "$@"
    [ -z "${FIT_HTTP_PORT:-}" ] || set -- "-Dserver.http.port=$http_port" "$@"
    # JAVA_OPTS is words, never patterns.
    set -f
    # shellcheck disable=SC2086
    run "$home/bin/fit" start ${JAVA_OPTS:-} "$@"
}

[ $# -gt 0 ] || set -- fit start
case $1 in
    help | --help | -h) usage ;;
    fit) if [ "${2:-}" = start ]; then start "$@"; else exec "$@"; fi ;;
    *) exec "$@" ;;
esac
