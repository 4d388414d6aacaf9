# Watches who writes to /var, whose upper layer is memory and forgotten with the boot.
#
# Handed in as a unit that starts before all others of the real system. Two fanotify(7) groups: one
# tells what comes to be in the upper layer, the other what is written to there later, and which
# programs are started: many a writer has ended before anybody can ask who it was, so its unit is noted
# when it begins. Each line of the record: path, unit, program. Who was too fast for that is `unknown`.
use strict;
use warnings;
use Fcntl;
use POSIX ();

my ($layer, $forgetful, $programs, $record) = @ARGV;
my %numbers = (x86_64 => [300, 301, 304], aarch64 => [262, 263, 265]);    # asm/unistd.h
my $machine = (POSIX::uname())[4];
my ($init, $mark, $open_by_handle) = @{ $numbers{$machine} or die "no system calls for $machine\n" };

# linux/fanotify.h
use constant {
    CLOEXEC => 0x1, UNLIMITED => 0x10, DIR_FID_AND_NAME => 0xc00, FILES => 0,
    ADD_FILESYSTEM => 0x101, HERE => -100, INFO_DFID_NAME => 2,
    MODIFY => 0x2, MOVED_TO => 0x80, CREATE => 0x100, OPEN_EXEC => 0x1000, ONDIR => 0x40000000,
    NO_INHERITANCE => 02000000,    # O_CLOEXEC
};

sub group {
    my ($flags, %marks) = @_;
    my $fd = syscall($init, $flags | CLOEXEC | UNLIMITED, O_RDONLY | NO_INHERITANCE);
    $fd >= 0 or die "fanotify_init: $!\n";
    for my $path (sort keys %marks) {
        my $terminated = $path;
        syscall($mark, $fd, ADD_FILESYSTEM, $marks{$path}, HERE, $terminated) == 0
            or die "fanotify_mark $path: $!\n";
    }
    open my $handle, '+<&=', $fd or die "fanotify: $!\n";
    return $handle;
}

open my $anchor, '<', $layer or die "$layer: $!\n";
my $made = group(DIR_FID_AND_NAME, $layer => CREATE | MOVED_TO | ONDIR);
my $used = group(FILES, $forgetful => MODIFY, $programs => OPEN_EXEC);
open my $out, '>', $record or die "$record: $!\n";
$out->autoflush(1);

# The unit is started once everything is watched.
exit 0 if fork;

my (%started, %seen);

# What /proc tells of a process: its unit and its name; nothing if it has ended.
sub ask {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/cgroup" or return;
    my ($group) = map { /^0::(.*)/ ? $1 : () } <$file>;
    open $file, '<', "/proc/$pid/comm" or return;
    chomp(my $name = <$file> // return);
    my ($unit) = grep { /\.(?:service|scope|socket|mount|swap)$/ } reverse split m{/}, $group // return;
    return [$unit // 'kernel', $name];
}

sub note {
    my ($path, $pid) = @_;
    my ($live, $began) = (ask($pid), $started{$pid});
    my $unit = ($live // $began // ['unknown'])->[0];
    my $program = ($began // $live // [undef, '?'])->[1];
    my $line = join "\t", $path, $unit, $program;
    $line =~ s/[^\t\x20-\x7e]/?/g;
    print $out "$line\n" unless $seen{$line}++;
}

# Paths in the upper layer, by the handle of the directory and the name in it.
sub made {
    my ($pid, $information) = @_;
    my ($kind, $length) = unpack 'Cx S', $information;
    return unless $kind == INFO_DFID_NAME;
    my $size = unpack 'x12 L', $information;
    my $handle = substr $information, 12, 8 + $size;
    my $name = unpack 'Z*', substr $information, 20 + $size;
    my $fd = syscall($open_by_handle, fileno $anchor, $handle, O_RDONLY | O_DIRECTORY | NO_INHERITANCE);
    return if $fd < 0;
    my $directory = readlink "/proc/self/fd/$fd";
    POSIX::close($fd);
    note("$forgetful$1/$name", $pid) if $directory =~ m{^\Q$layer$forgetful\E/upper(.*)};
}

sub used {
    my ($pid, $mask, $fd) = @_;
    my $path = readlink("/proc/self/fd/$fd") // '';
    POSIX::close($fd);
    if ($mask & OPEN_EXEC) {
        # The loader, opened after the program, says nothing of who this is.
        my ($name) = $path =~ m{([^/]+)$};
        my $who = ask($pid);
        $started{$pid} = [$who->[0], $name] if $who && $name !~ /^ld-/;
    }
    if ($mask & MODIFY && $path =~ m{^\Q$forgetful\E(/.*)} && -e "$layer$forgetful/upper$1") {
        note($path, $pid);
    }
}

while (1) {
    my $ready = '';
    vec($ready, fileno $_, 1) = 1 for $made, $used;
    select $ready, undef, undef, undef;
    for my $group (grep { vec $ready, fileno $_, 1 } $used, $made) {
        sysread $group, my $events, 65536 or next;
        while (length $events) {
            my ($length, $mask, $fd, $pid) = unpack 'L x4 Q l l', $events;
            my $event = substr $events, 0, $length, '';
            $group == $used ? used($pid, $mask, $fd) : made($pid, substr $event, 24);
        }
    }
}
