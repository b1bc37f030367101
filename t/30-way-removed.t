#!/usr/bin/env perl
# A reload takes services, listeners and servers away: what is open stays, and is served by the
# configuration that it began with; drain-timeout ends it; what waited in a queue is taken.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear hear_all ending half_close exchange line_of mark);

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my ($a, $b, $c) = map { Steelyard::free_port() } 1 .. 3;
my $one = "pool p { server s1 127.0.0.1:@{[ $s1->port ]}; }\n";
my $two = "pool p { server s2 127.0.0.1:@{[ $s2->port ]}; }\n";
my $stay = "virtual-service stay { listen 127.0.0.1:$a; pool p; monitor off; }\n";
my $gone = "virtual-service gone { listen 127.0.0.1:$b; pool p; monitor off; drain-timeout 2s; }\n";
my $ever = "virtual-service ever { listen 127.0.0.1:$c; pool p; monitor off; }\n";
my $sy = Steelyard->start("$one$stay$gone$ever");

sub held { my $sock = dial(shift); say($sock, "x\n"); my $got = hear($sock, qr/\n/); return ($sock, $got) }
sub generations { my $most = 0; for (map { $_->{generations} } @{ $sy->processes }) { $most = $_ if $_ > $most } return $most }

my ($stays) = held($a);
my ($drains) = held($b);
my ($lives) = held($c);
my ($ok, $text) = $sy->reload("$two$stay");
ok($ok, 'two services go, and the server behind the third changes') or diag $text;
my $from = time;
is((say($stays, "still\n"), hear($stays, qr/\n/))[1], "s1: still\n", 'what was open stays with its server');
is((held($a))[1], "s2: x\n", 'what is new goes to the new one');
ok(!eval { dial($b) }, 'nobody listens where a service is gone');
is((say($drains, "still\n"), hear($drains, qr/\n/))[1], "s1: still\n", 'its connection is still served');
is(ending($drains), 'reset', 'until drain-timeout is over');
my $took = time - $from;
cmp_ok($took, '>=', 1.5, sprintf 'not before (%.1f s)', $took);
cmp_ok($took, '<', 20, 'nor long after');
my $line = line_of($sy, $drains);
is("$line->{end}: $line->{words}", 'removed: service was removed and drain-timeout is over (2s)', 'its reason');
is((say($lives, "still\n"), hear($lives, qr/\n/))[1], "s1: still\n", 'without a drain-timeout a connection may stay');

# Two reloads must fit into the drain.
$gone =~ s/drain-timeout 2s/drain-timeout 8s/ or die 'no drain-timeout';
($ok, $text) = $sy->reload("$two$stay$gone");
ok($ok, 'a service comes back') or diag $text;
($drains) = held($b);
($ok, $text) = $sy->reload("$two$stay");
($ok, $text) = $sy->reload("$two$stay$gone");
select undef, undef, undef, 8.5;
is((say($drains, "still\n"), hear($drains, qr/\n/))[1], "s2: still\n", 'in time for its connections to stay');
half_close($_) for $stays, $lives, $drains;
is(hear_all($_), '<end>', 'they end as they like') for $stays, $lives, $drains;
Steelyard::wait_for('old generations to be gone', sub { generations() == 1 });
pass('and with them the old generations');
is($sy->stop('QUIT'), 0, 'a graceful stop with nothing open ends at once');
done_testing;
