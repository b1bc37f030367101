#!/usr/bin/env perl
# Drain of one of three coturns while turnutils_uclient sends media through it, over UDP and TCP: nothing is
# lost, and coturn itself says that nothing new came. Then RFC 6062: relayed TCP, with its data connections.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Steelyard;
use Test::More;
use Turn;

plan skip_all => 'needs coturn' if system('command -v turnserver turnutils_uclient >/dev/null 2>&1');

my @names = qw(one two three);
my %server = map { $_ => Turn::Server->new($_, args => ['--no-tls', '--no-dtls', '-v']) } @names;
my $pool = 'pool p { ' . join(' ', map { "server $_ $server{$_}{host}:3478;" } @names) . " }\n";
my $sy = Steelyard->start($pool . <<'CONF');
virtual-service udp { listen 127.0.0.1:0/udp; protocol turn { unauthenticated-rate 100000; } pool p; monitor off; }
virtual-service tcp { listen 127.0.0.1:0; protocol turn { unauthenticated-rate 100000; } pool p; monitor off; }
virtual-service relayed-tcp { listen 127.0.0.1:0; protocol turn; pool p; persistence source; monitor off; }
CONF
my ($udp, $tcp) = map { $sy->port($_) } qw(udp tcp);

sub service { (grep { $_->{name} eq $_[0] } @{ $sy->api('GET', '/v1/services')->{services} })[0] }
sub seats { map { $_->{name} => $_ } @{ service(@_)->{servers} } }
# By coturn's own log.
sub made { my $name = shift; my @lines = $server{$name}->text =~ /(ALLOCATE processed, success)/g; return scalar @lines }

# A crowd of turnutils_uclient: { out, pid }; what it says at the end.
sub crowd {
	my (@args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if (!$pid) {
		Steelyard::die_with_parent();
		open STDERR, '>&', \*STDOUT;
		exec 'turnutils_uclient', '-u', $Turn::USER, '-w', $Turn::PASSWORD, @args, '127.0.0.1' or POSIX::_exit(127);
	}
	return { out => $out, pid => $pid };
}
sub end { my $crowd = shift; local $/; my $said = readline($crowd->{out}) // ''; close $crowd->{out}; return $said }

# Each of the clients makes an allocation, sends 300 messages to the next one, 20 ms apart, and waits for all.
my %under_way = (udp => crowd('-y', '-c', '-m', 12, '-n', 300, '-z', 20, '-p', $udp),
	tcp => crowd('-y', '-c', '-m', 12, '-n', 300, '-z', 20, '-t', '-p', $tcp));
for my $over (sort keys %under_way) {
	Steelyard::wait_for("media over $over", sub { (service($over)->{figures}{channel_packets_up} // 0) > 50 });
	my %seat = seats($over);
	cmp_ok($seat{$_}{load}, '>', 0, "$over: coturn $_ has allocations") for @names;
}
my %had = map { my %seat = seats($_); ($_ => $seat{one}{load}) } keys %under_way;
my %made = map { $_ => made($_) } @names;
$sy->ctl('drain', 'one');
$sy->api('GET', '/v1/connections'); # the workers know
my @new = (crowd('-y', '-c', '-m', 4, '-n', 20, '-z', 20, '-p', $udp), crowd('-y', '-c', '-m', 4, '-n', 20, '-z', 20, '-t', '-p', $tcp));
like(end($_), qr/Total lost packets 0 /, 'new clients are served') for @new;
is(made('one'), $made{one}, 'and coturn one, which drains, was asked for nothing new');
cmp_ok(made('two') + made('three'), '>=', $made{two} + $made{three} + 8, 'the others were');
for my $over (sort keys %under_way) {
	my %seat = seats($over);
	is("$seat{one}{state} $seat{one}{load}", "drain $had{$over}", "$over: it drains, with all that it had");
}
for my $over (sort keys %under_way) {
	my $said = end($under_way{$over});
	like($said, qr/Total lost packets 0 /, "$over: nothing of what was under way was lost") or diag $said;
	like($said, qr/tot_send_msgs=3600, tot_recv_msgs=3600/, "$over: each of 3600 messages came");
}
$sy->ctl('enable', 'one');

# ---- RFC 6062 ----
# -T: allocations with TCP as the relayed transport; each client connects to another's relayed address, and a
# data connection of its own belongs to that.
my $said = end(crowd('-T', '-m', 4, '-n', 25, '-z', 10, '-p', $sy->port('relayed-tcp')));
like($said, qr/Total lost packets 0 /, 'RFC 6062: nothing is lost') or diag $said;
like($said, qr/tot_send_msgs=100, tot_recv_msgs=100/, 'all of it came');
my %after = seats('relayed-tcp');
my ($on) = sort { $after{$b}{total} <=> $after{$a}{total} } @names;
my $bound = () = $server{$on}->text =~ /CONNECTION_BIND processed, success/g;
cmp_ok($bound, '>=', 4, "coturn $on bound $bound data connections");
cmp_ok($after{$on}{total}, '>=', 4 + $bound, 'which are connections of clients');
is($after{$_}{total}, 0, "and none of them came to $_") for grep { $_ ne $on } @names;
is($sy->stop, 0, 'the end');
done_testing;
