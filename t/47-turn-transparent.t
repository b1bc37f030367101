#!/usr/bin/env perl
# snat off: client, balancer and a TURN server in network namespaces of their own. The server tells the
# client its own address, and not ours.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use File::Temp ();
use Steelyard;
use Test::More;
use Turn;

plan skip_all => 'needs root for network namespaces' if $> != 0;
plan skip_all => 'needs coturn' if system('command -v turnserver >/dev/null 2>&1');

my %ns = map { $_ => "syt-$_-$$" } qw(client middle server);
my $owner = $$;
my $coturn;

sub run { my $said = `@_ 2>&1`; die "@_: $said" if $? }
sub in_ns { my ($where, @cmd) = @_; run('ip', 'netns', 'exec', $ns{$where}, @cmd) }
END {
	if ($owner == $$) {
		local $?;
		undef $coturn;
		system "ip netns del $_ 2>/dev/null" for values %ns;
	}
}

eval {
	run("ip netns add $_") for values %ns;
	in_ns($_, 'ip link set lo up') for keys %ns;
	1;
} or plan skip_all => "needs network namespaces: $@";
for my $cable (['client', 'cl', '10.78.1'], ['server', 'sv', '10.78.2']) {
	my ($where, $name, $net) = @$cable;
	run("ip link add $name netns $ns{$where} type veth peer name to-$name netns $ns{middle}");
	in_ns($where, "ip addr add $net.2/24 dev $name");
	in_ns($where, "ip link set $name up");
	in_ns('middle', "ip addr add $net.1/24 dev to-$name");
	in_ns('middle', "ip link set to-$name up");
	in_ns($where, "ip route add default via $net.1");
}

$coturn = Turn::Server->new('one', host => '10.78.2.2', wrap => ['ip', 'netns', 'exec', $ns{server}]);
my $sy = Steelyard->start(<<'CONF', wrap => ['ip', 'netns', 'exec', $ns{middle}]);
manage-routing on;
pool p { server one 10.78.2.2:3478; }
virtual-service clear { listen 10.78.1.1:3478/udp 10.78.1.1:3478; protocol turn; pool p; snat off; monitor off; }
virtual-service snat { listen 10.78.1.1:3479/udp; protocol turn; pool p; monitor off; }
CONF

# Asks in the client's namespace; prints what the server sees.
sub mapped {
	my ($port, $tcp) = @_;
	my $code = 'use Turn; my $c = Turn::Client->new("10.78.1.1", $ARGV[0], local_port => 40404, tcp => $ARGV[1], ' .
		'from => "10.78.1.2"); $c->allocate or die $c->{error}; print $c->{mapped}; $c->refresh(0)';
	my @cmd = ('ip', 'netns', 'exec', $ns{client}, $^X, (map { "-I$_" } @INC), '-e', $code, $port, $tcp);
	open my $out, '-|', @cmd or die $!;
	local $/;
	return scalar <$out>;
}
is(mapped(3478, 0), '10.78.1.2:40404', 'UDP, snat off: the server sees the client');
is(mapped(3478, 1), '10.78.1.2:40404', 'and over TCP');
like(mapped(3479, 0), qr/^10\.78\.2\.1:/, 'with snat it sees us');
$sy->stop;
done_testing();
