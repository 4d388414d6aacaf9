# Keeps the persistent directories busy while every write of the machine is recorded: one writer in each,
# as the directory's owner. What a writer has flushed it tells at a port of its own, a line each.
set -u
here=$CREDENTIALS_DIRECTORY
. "$here/goni.load.values"
exec 3> /dev/virtio-ports/org.goni.load
# Its readers are not root.
cat "$here/goni.load.writer" > /run/goni-load.pl

# The names are those of the directories on the state partition.
# write_to DIRECTORY NAME USER GROUP
write_to() {
    setpriv --reuid "$3" --regid "$4" --clear-groups perl /run/goni-load.pl "$1" "$2" "$nonce" &
}
write_to /var/lib/goni data goni goni
write_to /opt/goni/models models goni goni
write_to /etc/goni config root root
wait
