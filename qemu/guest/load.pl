# writer DIRECTORY NAME NONCE: numbered lines at the end of one file, and a file replaced again and again.
# A number is told at descriptor 3 once fsync has promised that it is on the disk; not a moment before.
use strict;
use warnings;
use IO::Handle;

my ($directory, $name, $nonce) = @ARGV;
my ($records, $settings, $bulk) = map { "$directory/.goni-load-$_" } qw(records settings bulk);
open my $port, '>&=', 3 or die "port: $!";
$port->autoflush(1);

sub flushed {
    my ($handle) = @_;
    $handle->flush or die "$name: writing: $!";
    $handle->sync or die "$name: fsync: $!";
}

sub flush_directory {
    open my $handle, '<', $directory or die "$directory: $!";
    $handle->sync or die "$directory: fsync: $!";
}

# An earlier boot may have begun.
my $number = 0;
if (open my $earlier, '<', $records) {
    $number++ while <$earlier>;
}
open my $record, '>>', $records or die "$records: $!";
flush_directory();
while (1) {
    $number++;
    my $line = "$nonce $name $number\n";
    print $record $line;
    flushed($record);
    print $port "$nonce $name record $number\n";

    open my $new, '>', "$settings.new" or die "$settings.new: $!";
    print $new $line x 100;
    flushed($new);
    close $new;
    rename "$settings.new", $settings or die "$settings: $!";
    flush_directory();
    print $port "$nonce $name settings $number\n";

    # What nobody waits for, so that there is always something on its way to the disk.
    open my $some, '>', $bulk . $number % 4 or die "$bulk: $!";
    print $some $line x 2000;
    close $some;
    select undef, undef, undef, 0.1;
}
