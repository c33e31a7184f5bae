#!/usr/bin/perl
# Passes on what the kernel prints: all of its standard input that follows the start mark, at once and unchanged. What
# firmware and GRUB printed on the same serial port before it is dropped.
# Ends with 0; with 3 when nobody reads its output any more; with 4 when the mark never came.
use strict;
use warnings;

use constant { CHUNK => 65536, READER_GONE => 3, NO_MARK => 4 };
my $mark = "\x02BAREFLOW\x02\n";
my $before = '';    # what may still be the beginning of the mark
my $started = 0;

$SIG{PIPE} = 'IGNORE';
$SIG{INT} = 'IGNORE';    # Ctrl-C is for the guest, or for the launcher, which then ends what feeds us

while (1) {
    my $got = sysread(STDIN, my $chunk, CHUNK);
    next if !defined $got && $!{EINTR};
    last if !$got;
    if (!$started) {
        $before .= $chunk;
        my $at = index($before, $mark);
        if ($at < 0) {
            my $keep = length($mark) - 1;
            $before = substr($before, -$keep) if length($before) > $keep;
            next;
        }
        $chunk = substr($before, $at + length($mark));
        $started = 1;
    }
    while (length $chunk) {
        my $written = syswrite(STDOUT, $chunk);
        if (!defined $written) {
            next if $!{EINTR};
            if ($!{EAGAIN}) {    # a terminal that QEMU made non-blocking
                select(undef, undef, undef, 0.005);
                next;
            }
            exit READER_GONE;
        }
        substr($chunk, 0, $written) = '';
    }
}
exit($started ? 0 : NO_MARK);
