#!/usr/bin/env perl
# snat off for datagrams, with two arms: client, balancer and server in network namespaces of their own.
# The server sees the client's address and port, and its answers come back through the balancer.
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
cable('client', 'cl', '10.77.1', 'fd77:1');
cable('server', 'sv', '10.77.2', 'fd77:2');
# The servers' answers have the clients' addresses: they are ours all the same.
for my $family ('-4', '-6') {
	in_ns('middle', "ip $family rule add iif to-sv lookup 100");
	in_ns('middle', "ip $family route add local default dev lo table 100");
}

# What runs in the namespaces; each prints a line for each thing that happens.
my $echo = <<'PERL';
use IO::Socket::IP; use Socket qw(SOCK_DGRAM getnameinfo);
my $sock = IO::Socket::IP->new(LocalHost => shift, LocalPort => 7000, Type => SOCK_DGRAM) or die $@;
syswrite STDOUT, "ready\n";
while (1) {
	my $from = $sock->recv(my $said, 65536) // next;
	my (undef, $host, $port) = getnameinfo($from, 3);
	$sock->send("$host:$port|$said", 0, $from);
}
PERL
my $client = <<'PERL';
use IO::Socket::IP; use IO::Select; use Socket qw(SOCK_DGRAM getnameinfo);
my ($to, $port, $from) = @ARGV;
my $sock = IO::Socket::IP->new(LocalHost => $from, LocalPort => 40404, PeerHost => $to, PeerPort => $port,
	Type => SOCK_DGRAM) or die $@;
for my $n (1 .. 5) {
	for my $try (1 .. 10) {
		$sock->send("n$n");
		IO::Select->new($sock)->can_read(1) or next;
		defined $sock->recv(my $answer, 65536) or next;
		$answer =~ /\|n$n$/ or next; # to what was said twice
		syswrite STDOUT, "$answer\n";
		last;
	}
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

for my $address ('10.77.2.2', 'fd77:2::2') {
	my ($out, $pid) = start_in('server', $echo, $address);
	is(scalar <$out>, "ready\n", "a server at $address");
	push @servers, [$out, $pid];
}

my $sy = Steelyard->start(<<'CONF', wrap => ['ip', 'netns', 'exec', $ns{middle}]);
pool four { server s 10.77.2.2:7000; }
pool six { server s [fd77:2::2]:7000; }
virtual-service four { listen 10.77.1.1:7000/udp; protocol udp; pool four; snat off; monitor off; }
virtual-service six { listen [fd77:1::1]:7000/udp; protocol udp; pool six; snat off; monitor off; }
CONF

for my $case (['10.77.1.1', '10.77.1.2'], ['fd77:1::1', 'fd77:1::2']) {
	my ($vip, $address) = @$case;
	my @got;
	{
		my ($out) = start_in('client', $client, $vip, 7000, $address);
		chomp(@got = <$out>);
	}
	is_deeply(\@got, [map { "$address:40404|n$_" } 1 .. 5],
		"$address: the server saw the client's own address and port, and the answers came back")
		or diag $sy->log_text;
}
for my $index (0, 1) {
	my $worker = $sy->pid_of('worker', $index);
	kill 'KILL', $worker if $worker;
}
my ($out) = start_in('client', $client, '10.77.1.1', 7000, '10.77.1.2');
chomp(my @after = <$out>);
is_deeply(\@after, [map { "10.77.1.2:40404|n$_" } 1 .. 5], 'and so it is after all workers were killed');
$sy->stop;
done_testing;
