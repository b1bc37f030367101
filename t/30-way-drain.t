#!/usr/bin/env perl
# drain-close: a drained server loses the connections that are quiet, a few each second, and no others.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Select;
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear ending line_of);

my ($s1, $s2, $s3) = map { Steelyard->server($_) } qw(s1 s2 s3);
my $sy = Steelyard->start(<<CONF);
workers 1;
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; }
pool q { server s2 127.0.0.1:@{[ $s2->port ]}; }
pool r { server s3 127.0.0.1:@{[ $s3->port ]}; }
virtual-service gives { listen 127.0.0.1:0; pool p; monitor off; drain-close 2s; drain-close-rate 5; }
virtual-service keeps { listen 127.0.0.1:0; pool p; monitor off; }
virtual-service other { listen 127.0.0.1:0; pool q; monitor off; drain-close 2s; }
virtual-service back { listen 127.0.0.1:0; pool r; monitor off; drain-close 2s; }
CONF
my %port = map { $_ => $sy->port($_) } qw(gives keeps other back);
sub talk { my $sock = shift; say($sock, "x\n"); return hear($sock, qr/\n/) }
sub held { my $sock = dial(shift); talk($sock); return $sock }

$sy->ctl('drain', 's3');
$sy->ctl('enable', 's3');
my ($back, $since) = (held($port{back}), time);
my @quiet = map { held($port{gives}) } 1 .. 12;
my ($busy, $kept, $other) = map { held($_) } @port{qw(gives keeps other)};
$sy->ctl('drain', 's1');
my $from = time;
my @ended;
my $select = IO::Select->new(@quiet);
# One that talks all the time stays; it is always its turn, whatever the machine does meanwhile.
while (@ended < 12 && time < $from + $Steelyard::LIMIT) {
	last if talk($busy) ne "s1: x\n";
	for my $sock ($select->can_read(0.05)) {
		push @ended, ending($sock);
		$select->remove($sock);
	}
}
is_deeply(\@ended, [ ('end') x 12 ], 'quiet connections are closed, in order');
cmp_ok(time - $from, '>=', 2, sprintf 'not all at once (%.1f s)', time - $from);
is(talk($busy), "s1: x\n", 'the one that talks stays');
my $line = line_of($sy, $quiet[0]);
is("$line->{end}: $line->{words}", 'drained: server is drained, and nothing was said for drain-close (2s)', 'the reason');
is(ending($busy), 'end', 'until it is quiet, too');
is(talk($kept), "s1: x\n", 'without drain-close a connection may stay');
is(talk($other), "s2: x\n", 'so may that of a server that is not drained');
# Long enough for drain-close, and for the second in which it acts.
Steelyard::wait_for('the time', sub { time > $since + 4 });
is(talk($back), "s3: x\n", 'when a server is back, quiet connections stay');
is($sy->stop, 0, 'it ends well');
done_testing;
