#!/usr/bin/env perl
# Where connections to servers come from, with two arms: client, balancer and server in network
# namespaces of their own. snat off: the servers see the client's address and port; snat ADDRESSES:
# those, in turn.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Steelyard;
use Test::More;

plan skip_all => 'needs root for network namespaces' if $> != 0;

my %ns = map { $_ => "sy-$_-$$" } qw(client middle server);
my $owner = $$;
my @servers; # [output, process]

sub run {
	my @cmd = @_;
	my $said = `@cmd 2>&1`;
	die "@cmd: $said" if $?;
}

sub in_ns { my ($where, @cmd) = @_; run('ip', 'netns', 'exec', $ns{$where}, @cmd) }

END {
	if ($owner == $$) {
		local $?;
		kill 'KILL', $_->[1] for @servers;
		system "ip netns del $_ 2>/dev/null" for values %ns;
	}
}

# One cable: interface and addresses at both ends; the second end is the balancer's.
sub cable {
	my ($where, $name, $net4, $net6) = @_;
	run("ip link add $name netns $ns{$where} type veth peer name to-$name netns $ns{middle}");
	in_ns($where, "ip addr add $net4.2/24 dev $name");
	in_ns($where, "ip -6 addr add ${net6}::2/64 dev $name nodad");
	in_ns($where, "ip link set $name up");
	in_ns('middle', "ip addr add $net4.1/24 dev to-$name");
	in_ns('middle', "ip -6 addr add ${net6}::1/64 dev to-$name nodad");
	in_ns('middle', "ip link set to-$name up");
	in_ns($where, "ip route add default via $net4.1");
	in_ns($where, "ip -6 route add default via ${net6}::1");
}

eval {
	run("ip netns add $_") for values %ns;
	in_ns($_, 'ip link set lo up') for keys %ns;
	1;
} or plan skip_all => "needs network namespaces: $@";
cable('client', 'cl', '10.78.1', 'fd78:1');
cable('server', 'sv', '10.78.2', 'fd78:2');
in_ns('middle', "ip addr add 10.78.2.$_/24 dev to-sv") for 11, 12;
# The servers' answers have the clients' addresses: they are ours all the same.
for my $family ('-4', '-6') {
	in_ns('middle', "ip $family rule add iif to-sv lookup 100");
	in_ns('middle', "ip $family route add local default dev lo table 100");
}

# Says who is there, and then each line again.
my $server = <<'PERL';
use IO::Socket::IP; use Socket qw(SOCK_STREAM);
my $listen = IO::Socket::IP->new(LocalHost => shift, LocalPort => 7000, Listen => 64, ReuseAddr => 1) or die $@;
$SIG{CHLD} = 'IGNORE';
syswrite STDOUT, "ready\n";
while (my $sock = $listen->accept) {
	if (!fork) {
		syswrite $sock, '[' . $sock->peerhost . ']:' . $sock->peerport . "\n";
		while (sysread $sock, my $bytes, 65536) { syswrite $sock, $bytes }
		exit 0;
	}
}
PERL
# Connects to each of the addresses from one address and port, says something, and tells what came
# back; the connections stay open until the last has been heard.
my $client = <<'PERL';
use IO::Socket::IP; use Socket qw(SOCK_STREAM SOL_SOCKET SO_REUSEADDR);
my ($from, $port, @to) = @ARGV;
my @open;
for my $to (@to) {
	my $sock = IO::Socket::IP->new(LocalHost => $from, $port ? (LocalPort => $port, ReuseAddr => 1) : (),
		PeerHost => $to =~ s/-\d+$//r, PeerPort => $to =~ s/.*-//r, Type => SOCK_STREAM);
	if (!$sock) { print "no connection: $@\n"; next }
	push @open, $sock;
	syswrite $sock, ($ENV{BEFORE} // '') . "hello\n";
	my $got = '';
	while ($got !~ /\n.*\n/) { sysread($sock, my $bytes, 4096) or last; $got .= $bytes }
	print $got =~ s/\n/ /gr, "\n";
}
PERL

sub start_in {
	my ($where, $code, @args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if (!$pid) {
		Steelyard::die_with_parent();
		exec 'ip', 'netns', 'exec', $ns{$where}, $^X, '-e', $code, @args or POSIX::_exit(127);
	}
	return ($out, $pid);
}

sub ask {
	my ($out) = start_in('client', $client, @_);
	chomp(my @got = <$out>);
	return map { s/ $//r } @got;
}

for my $address ('10.78.2.2', 'fd78:2::2') {
	my ($out, $pid) = start_in('server', $server, $address);
	is(scalar <$out>, "ready\n", "a server at $address");
	push @servers, [$out, $pid];
}

my $sy = Steelyard->start(<<'CONF', wrap => ['ip', 'netns', 'exec', $ns{middle}]);
pool four { server s 10.78.2.2:7000; }
pool six { server s [fd78:2::2]:7000; }
virtual-service four { listen 10.78.1.1:7000; pool four; snat off; monitor off; }
virtual-service second { listen 10.78.1.1:7001; pool four; snat off; monitor off; }
virtual-service six { listen [fd78:1::1]:7000; pool six; snat off; monitor off; }
virtual-service crossed { listen 10.78.1.1:7002; pool four; snat off; monitor off; accept-proxy-from 10.78.1.0/24; }
virtual-service own { listen 10.78.1.1:7003; pool four; monitor off; }
virtual-service turns { listen 10.78.1.1:7004; pool four; snat 10.78.2.11 10.78.2.12; monitor off; }
CONF

is_deeply([ ask('10.78.1.2', 40404, '10.78.1.1-7000') ], ['[10.78.1.2]:40404 hello'],
	'snat off: the server sees the address and port of the client, and its answers come back') or diag $sy->log_text;
is_deeply([ ask('fd78:1::2', 40404, 'fd78:1::1-7000') ], ['[fd78:1::2]:40404 hello'], 'IPv6') or diag $sy->log_text;
my @both = ask('10.78.1.2', 40405, '10.78.1.1-7000', '10.78.1.1-7001');
is($both[0], '[10.78.1.2]:40405 hello', 'one port to two services of one server: the first has it');
like($both[1], qr/^\[10\.78\.1\.2\]:(?!40405 )\d+ hello$/, 'the second gets another, of the same address');
my ($line) = $sy->wait_log(qr/(connection .* service=four .*)/);
like($line, qr/ client=10\.78\.1\.2:40404 .* source=10\.78\.1\.2:40404 /, 'the log tells both');
{
	local $ENV{BEFORE} = "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n";
	is_deeply([ ask('10.78.1.2', 0, '10.78.1.1-7002') ], [''], 'an IPv6 client cannot be shown to an IPv4 server');
}
like($sy->wait_log(qr/(connection .* service=crossed .*)/), qr/of another family.* end=connect-local/, 'its reason');
like((ask('10.78.1.2', 0, '10.78.1.1-7003'))[0], qr/^\[10\.78\.2\.1\]:\d+ hello$/, 'snat on: the address of this machine');
my %seen;
for (ask('10.78.1.2', 0, ('10.78.1.1-7004') x 12)) { $seen{$1}++ if /^\[(\S+)\]:\d+ hello$/ }
is_deeply([ sort keys %seen ], ['10.78.2.11', '10.78.2.12'], 'snat ADDRESSES: each of them');
cmp_ok($seen{'10.78.2.11'}, '>=', 3, 'in turn') or diag explain \%seen;
# Ports of one address towards one server and port are few: then the next address serves.
in_ns('middle', 'sysctl -qw net.ipv4.ip_local_port_range="40000 40004"');
my @many = ask('10.78.1.2', 0, ('10.78.1.1-7004') x 8);
is(scalar(grep { / hello$/ } @many), 8, 'an address without free port is passed over') or diag explain \@many;
my @more = ask('10.78.1.2', 0, ('10.78.1.1-7004') x 14);
cmp_ok(scalar(grep { / hello$/ } @more), '<=', 10, 'until none has one') or diag explain \@more;
like($sy->log_text, qr/no connection could be made from here \(Cannot assign requested address\).* end=connect-local/, 'its reason');
is($sy->seat('turns', 's')->{connect_failures}, 0, 'which is no fault of the server');
is($sy->stop, 0, 'it ends well');
done_testing;
