# The guest's side of the smoke checks: tells when the system has settled, then runs what it is asked to.
#
# Nothing of this is in the image: unit, agent and checks come in through the firmware, as systemd
# credentials. What is said goes to a port of its own, one JSON object a line, each with the nonce of
# this run; what is asked comes from there: `check NAME BOOT SECONDS [KEY=VALUE]...`, `diagnose`, `reboot`, `poweroff`.
# Written for dash. Beside it lie goni.smoke.values, goni.smoke.words and one goni.smoke.check.NAME each.
set -u
here=$CREDENTIALS_DIRECTORY
. "$here/goni.smoke.values"
boot=$(cat /proc/sys/kernel/random/boot_id)
verdict=$(mktemp -d /run/goni-smoke.XXXXXX)
exec 3<>/dev/virtio-ports/org.goni.smoke

# Text as the inside of a JSON string: the last 4000 bytes, control characters dropped but for line ends.
escaped() {
    printf '%s' "$1" | tail -c 4000 | tr -d '\000-\011\013-\037\177' |
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e '$!s/$/\\n/' | tr -d '\n'
}

# say KEY VALUE [KEY VALUE]...
say() {
    line="{\"nonce\":\"$nonce\",\"boot\":\"$boot\""
    while [ $# -gt 0 ]; do
        line="$line,\"$1\":\"$(escaped "$2")\""
        shift 2
    done
    printf '%s}\n' "$line" >&3
}

content() {
    cat "$verdict/$1" 2> /dev/null || true
}

# check NAME BOOT SECONDS [KEY=VALUE]...: in a shell of its own, so that nothing it does reaches the next.
check() {
    name=$1 phase=$2 limit=$3
    shift 3
    rm -f "$verdict"/*
    env "$@" verdict="$verdict" phase="$phase" timeout -k 5 "$limit" sh -euc \
        ". '$here/goni.smoke.values'; . '$here/goni.smoke.words'; . '$here/goni.smoke.check.$name'" \
        > "$verdict/said" 2>&1 3>&- < /dev/null
    code=$?
    if [ ! -e "$verdict/outcome" ]; then
        case $code in
            0) echo passed > "$verdict/outcome" ;;
            124 | 137) echo "an end within $limit s" > "$verdict/expected" ;;
            *) echo "the check runs to its end, which it did not: exit code $code" > "$verdict/expected" ;;
        esac
        [ "$code" = 0 ] || tail -n 20 "$verdict/said" > "$verdict/observed"
        [ "$code" = 0 ] || echo failed > "$verdict/outcome"
    fi
    say check "$name" outcome "$(content outcome)" expected "$(content expected)" \
        observed "$(content observed)" kept "$(content kept)" warnings "$(content warnings)"
}

# The boot is over when systemd has no job left; or when it takes too long, which is for a check to judge.
settle() {
    state=starting
    end=$(($(cut -d . -f 1 /proc/uptime) + settle_seconds))
    while [ "$(cut -d . -f 1 /proc/uptime)" -lt "$end" ]; do
        state=$(systemctl is-system-running || true)
        case $state in
            initializing | starting) sleep 1 ;;
            *) break ;;
        esac
    done
}

say event started uptime "$(cut -d ' ' -f 1 /proc/uptime)"
settle
say event settled uptime "$(cut -d ' ' -f 1 /proc/uptime)" state "$state" time "$(systemd-analyze time 2>&1)"
while read -r verb rest <&3; do
    case $verb in
        # The words are the host's own and hold no space or pattern.
        check) check $rest ;;
        diagnose)
            say event diagnosis text "$(systemctl --failed --no-legend --plain; systemctl list-jobs --no-legend;
                systemd-analyze blame 2>&1 | grep -v '[.]device$' | head -n 25; journalctl -b -p warning -o cat --no-pager -n 40)"
            ;;
        reboot | poweroff)
            say event leaving
            systemctl "$verb"
            ;;
    esac
done
