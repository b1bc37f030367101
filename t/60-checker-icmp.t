#!/usr/bin/env perl
# The icmp monitor in network namespaces: a balancer, a router behind it, servers behind the router that
# are there, are silent, or of which the router says that it cannot reach them. Once with a raw socket
# (the checker keeps CAP_NET_RAW and nothing else), once with a ping socket.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;

plan skip_all => 'needs root for network namespaces' if $> != 0;
my ($lb, $router) = ("sylb$$", "syrt$$");
sub run {
	my $out = `@_ 2>&1`;
	return $? == 0 ? 1 : (diag("@_: $out"), 0)[1];
}
plan skip_all => 'no network namespaces here' unless run("ip netns add $lb");
END {
	my $status = $?;
	if ($lb) {
		system "ip netns del $_ 2>/dev/null" for $lb, $router;
	}
	$? = $status;
}
my $made = 1;
$made &&= run($_) for (
	"ip netns add $router",
	"ip -n $lb link set lo up",
	"ip -n $router link set lo up",
	"ip -n $lb link add sy0 type veth peer name sy1 netns $router",
	"ip -n $lb addr add 198.51.100.1/24 dev sy0",
	"ip -n $lb addr add 2001:db8:1::1/64 dev sy0 nodad",
	"ip -n $router addr add 198.51.100.2/24 dev sy1",
	"ip -n $router addr add 2001:db8:1::2/64 dev sy1 nodad",
	"ip -n $lb link set sy0 up",
	"ip -n $router link set sy1 up",
	"ip -n $lb route add default via 198.51.100.2",
	"ip -n $lb -6 route add default via 2001:db8:1::2",
	"ip -n $router addr add 203.0.113.1/32 dev lo",
	"ip -n $router route add unreachable 203.0.113.2/32",
	"ip -n $router route add blackhole 203.0.113.3/32",
	"ip -n $router -6 route add unreachable 2001:db8:9::2/128",
	"ip netns exec $router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	"ip netns exec $router sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0",
);
ok($made, 'the network is made') or BAIL_OUT('no network');
# Neighbours are not found before link-local addresses are known to be unique, a second or two.
Steelyard::wait_for('addresses to be usable', sub {
	my $there = join '', map { `ip -n $_ -6 addr show scope link` } $lb, $router;
	(() = $there =~ /inet6 fe80/g) >= 2 && $there !~ /tentative/;
});

my @table = (
	[there => '203.0.113.1', 'up', qr/^icmp 203\.0\.113\.1: echo received$/],
	[refused => '203.0.113.2', 'down', qr/^icmp 203\.0\.113\.2: no route to the server/],
	[silent => '203.0.113.3', 'down', qr/no answer within 500ms/],
	[six => '2001:db8:1::2', 'up', qr/^icmp 2001:db8:1::2: echo received$/],
	[six_refused => '2001:db8:9::2', 'down', qr/no route to the server|network unreachable/],
);
my $conf = join '', map { "pool p$_->[0] { server s $_->[1]; }\n"
	. "virtual-service $_->[0] { listen 127.0.0.1:0; pool p$_->[0]; monitor icmp { interval 600ms; timeout 500ms; fall 1; rise 1; } }\n" } @table;

for my $range ('1 0', '0 2147483647') {
	subtest $range eq '1 0' ? 'raw sockets' : 'ping sockets' => sub {
		run("ip netns exec $lb sysctl -qw net.ipv4.ping_group_range='$range'")
			or plan skip_all => 'ping_group_range cannot be set';
		my $sy = Steelyard->start($conf, wrap => ['ip', 'netns', 'exec', $lb]);
		for my $row (@table) {
			my ($name, $address, $state, $why) = @$row;
			eval { $sy->wait_state($name, 's', $state); 1 } or diag $@;
			my $seat = $sy->seat($name, 's');
			is($seat->{state}, $state, "$address: $state");
			like($seat->{why}, $why, '  and the words are right');
		}
		open my $in, '<', '/proc/' . $sy->pid_of('checker') . '/status';
		my ($caps) = join('', <$in>) =~ /^CapEff:\s*(\w+)/m;
		is(hex $caps, 1 << 13, 'the checker has CAP_NET_RAW and nothing else');
		ok(run("ip -n $router addr del 203.0.113.1/32 dev lo"), 'the server goes');
		$sy->wait_down('there', 's');
		ok(run("ip -n $router addr add 203.0.113.1/32 dev lo"), 'and comes again');
		$sy->wait_up('there', 's');
	};
}

# One socket serves all probes: what is wrong with one server must not be said of another. All are
# asked in one go, so that errors are pending on the socket while others are being sent.
for my $range ('1 0', '0 2147483647') {
	subtest 'errors belong to their own server, ' . ($range eq '1 0' ? 'raw' : 'ping') => sub {
		run("ip netns exec $lb sysctl -qw net.ipv4.ping_group_range='$range'");
		my $many = '';
		for my $i (1 .. 20) {
			$many .= "pool a$i { server s 203.0.113.2; }\n"
				. "virtual-service a$i { listen 127.0.0.1:0; pool a$i; monitor icmp { interval 10m; timeout 2s; fall 1; size @{[ 100 + $i ]}; } }\n"
				. "pool b$i { server s 203.0.113.1; }\n"
				. "virtual-service b$i { listen 127.0.0.1:0; pool b$i; monitor icmp { interval 10m; timeout 2s; fall 1; size @{[ 200 + $i ]}; } }\n";
		}
		my $sy = Steelyard->start($many, wrap => ['ip', 'netns', 'exec', $lb]);
		$sy->wait_log(qr/every server was asked once/);
		for (1 .. 5) {
			$sy->api('POST', '/v1/checks');
			sleep 1;
		}
		my @checks = @{ $sy->api('GET', '/v1/checks')->{checks} };
		is_deeply([grep { $_->{service} =~ /^b/ && $_->{state} ne 'up' } @checks], [], 'who answers is up');
		is_deeply([map { $_->{changes} } grep { $_->{service} =~ /^b/ && $_->{changes} } @checks], [], 'and always was');
		my @lost = grep { $_->{service} =~ /^a/ } @checks;
		is(scalar(grep { $_->{state} eq 'down' } @lost), 20, 'who cannot be reached is down');
		# The router tells only some of the senders: it limits how many errors it sends.
		like($sy->log_text, qr/is down: icmp 203\.0\.113\.2: no route to the server/, 'and who was told by the router says so');
	};
}

subtest 'added later' => sub {
	run("ip netns exec $lb sysctl -qw net.ipv4.ping_group_range='1 0'");
	my $tcp = $conf =~ s/monitor icmp \{ /monitor tcp { port 1; /gr;
	my $sy = Steelyard->start($tcp, wrap => ['ip', 'netns', 'exec', $lb]);
	$sy->wait_down('there', 's');
	my $before = $sy->pid_of('checker');
	my ($ok, $text) = $sy->reload($conf);
	ok($ok, 'a reload that brings the first icmp monitor') or diag $text;
	$sy->wait_up('there', 's');
	isnt($sy->pid_of('checker'), $before, 'a checker that kept the right to ping took over');
	($ok, $text) = $sy->reload($tcp);
	ok($ok, 'and without again') or diag $text;
	$sy->wait_down('there', 's');
};

done_testing;
