# The words a check is written in. Each says what was expected and what was seen; the first that is not
# satisfied ends the check. `$verdict` is the directory where the agent looks, `$phase` the boot this is.

# fail EXPECTED OBSERVED
fail() {
    printf '%s' "$1" > "$verdict/expected"
    printf '%s' "$2" > "$verdict/observed"
    echo failed > "$verdict/outcome"
    exit 0
}

# skip REASON: there is nothing to check on this node.
skip() {
    printf '%s' "$1" > "$verdict/observed"
    echo skipped > "$verdict/outcome"
    exit 0
}

# warn TEXT: a line for whoever reads the report; the check goes on, and may pass.
warn() {
    printf '%s\n' "$1" >> "$verdict/warnings"
}

# same WHAT EXPECTED OBSERVED
same() {
    [ "$2" = "$3" ] || fail "$1: $2" "${3:-nothing}"
}

# refused WHAT EXPECTED COMMAND...: the command fails, and says so with these words.
refused() {
    what=$1 words=$2
    shift 2
    if said=$("$@" 2>&1); then
        fail "$what: $words" "it is allowed: $*"
    fi
    case $said in
        *"$words"*) ;;
        *) fail "$what: $words" "$said" ;;
    esac
}

# eventually SECONDS COMMAND...: tries once a second; the last try's exit code is the result.
eventually() {
    tries=$1
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 1
    done
}

# remember KEY VALUE: `$KEY` in the checks of later boots.
remember() {
    printf '%s=%s ' "$1" "$2" >> "$verdict/kept"
}

# device_of DIRECTORY: the block device of the file system mounted exactly there, or the word for what is.
device_of() {
    source=$(findmnt -nvo SOURCE --mountpoint "$1" | tail -n 1)
    case $source in
        /*) readlink -f "$source" ;;
        *) echo "$source" ;;
    esac
}

# state_device: the block device that the state is on: its partition, or what a key opens of it.
state_device() {
    case $encryption in
        none) readlink -f "/dev/goni/$state_uuid" ;;
        *) readlink -f /dev/mapper/state ;;
    esac
}

# as USER GROUP COMMAND...
as() {
    user=$1 group=$2
    shift 2
    setpriv --reuid "$user" --regid "$group" --clear-groups "$@"
}

# like UNIT PROGRAM < SCRIPT: runs a script with every setting of a unit - user, limits, sandbox, devices -
# and prints what it says, whether the unit itself runs or not. `+PROGRAM`: as root outside of the sandbox, but still in such a control group.
like() {
    script=$(mktemp /run/goni-smoke-script.XXXXXX)
    cat > "$script"
    probe=$(mktemp /run/systemd/system/goni-smoke-XXXXXX.service)
    {
        systemctl cat "$1"
        printf '\n[Unit]\nConditionPathExists=\nCollectMode=inactive-or-failed\n[Service]\nType=oneshot\nRestart=no\nTimeoutStartSec=50\n'
        printf 'ExecStart=\nExecStart=%s %s\nStandardOutput=truncate:%s\nStandardError=inherit\n' "$2" "$script" "$script.said"
    } > "$probe"
    chmod 0644 "$script" "$probe"
    systemctl start "${probe##*/}" || echo "the probe ended with $?" >> "$script.said"
    cat "$script.said"
    rm "$probe" "$script" "$script.said"
}
