#!/usr/bin/env perl
# The way of a connection, step by step: what is said arrives, ends and resets are passed on in both
# directions, nobody is starved, and each end has its reason in words.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(dial say hear hear_all ending half_close cut exchange line_of mark);
use Digest::SHA qw(sha256_hex);
use IO::Select;
use Socket qw(SOL_SOCKET SO_RCVBUF SO_SNDBUF);

# A server that does what the first line says.
my $actor = Steelyard->server('actor', on => sub {
	my $sock = shift;
	return if fork;
	my $line = '';
	while ($line !~ /\n/) { sysread($sock, my $c, 1) or last; $line .= $c }
	my ($what, $arg) = split ' ', $line;
	$what //= '';
	if ($what eq 'count') {          # until the client's end, then says how much it was
		my ($n, $sha) = (0, Digest::SHA->new(256));
		while (my $got = sysread $sock, my $bytes, 65536) { $n += $got; $sha->add($bytes); select undef, undef, undef, $arg if $arg }
		Way::say($sock, "$n " . $sha->hexdigest . "\n");
	} elsif ($what eq 'give') {      # so many bytes, then its end, then reads to the end
		my $bytes = join '', map { chr(($_ * 7) & 255) } 0 .. 9999;
		for (my $n = 0; $n < $arg; $n += 10000) { Way::say($sock, substr $bytes, 0, $arg - $n < 10000 ? $arg - $n : 10000) or last }
		shutdown $sock, 1;
		1 while sysread $sock, $bytes, 65536;
	} elsif ($what eq 'end') {       # its end first; then goes on listening
		Way::say($sock, "bye\n");
		shutdown $sock, 1;
		my $rest = '';
		while (sysread $sock, my $bytes, 65536) { $rest .= $bytes }
		open my $out, '>', $arg; print $out $rest; close $out;
	} elsif ($what eq 'reset') {
		Way::say($sock, "soon\n");
		select undef, undef, undef, 0.2;
		Way::cut($sock);
	} elsif ($what eq 'refuse') {    # answers without having read all, as web servers do
		Way::say($sock, "413 too large\n");
		select undef, undef, undef, 0.1;
		close $sock;
	} elsif ($what eq 'wait') {
		1 while sysread $sock, my $bytes, 65536;
	}
	POSIX::_exit(0);
});
my $greeter = Steelyard->server('greeter', greet => 1);
my $six = IO::Socket::IP->new(LocalHost => '::1', Listen => 1) ? 1 : 0;
my $sy = Steelyard->start(<<CONF);
pool actor { server actor 127.0.0.1:@{[ $actor->port ]}; }
pool greeter { server greeter 127.0.0.1:@{[ $greeter->port ]}; }
virtual-service act { listen 127.0.0.1:0; pool actor; monitor off; }
virtual-service greet { listen 127.0.0.1:0@{[ $six ? ' [::1]:0' : '' ]}; pool greeter; monitor off; }
virtual-service short { listen 127.0.0.1:0; pool actor; monitor off; idle-timeout 1s; }
virtual-service any { listen *:0; pool greeter; monitor off; }
virtual-service copied { listen 127.0.0.1:0; pool actor; monitor off; splice off; }
CONF
my ($act, $greet) = ($sy->port('act'), $sy->port('greet'));

subtest 'there and back' => sub {
	my $sock = dial($greet);
	like(hear($sock, qr/\n/), qr/^hello greeter 127\.0\.0\.1:\d+\n$/, 'a server that speaks first is heard');
	for my $n (1 .. 5) {
		say($sock, "line $n\n");
		is(hear($sock, qr/\n/), "greeter: line $n\n", "line $n");
	}
	half_close($sock);
	is(hear_all($sock), '<end>', 'the end comes back');
	my $line = line_of($sy, $sock);
	is($line->{end}, 'client-done', 'the client closed first');
	is($line->{words}, 'client closed first', 'in words');
	is("$line->{service} $line->{server} $line->{why}", 'greet greeter scheduler', 'service, server, and why');
	is($line->{up}, 35, 'bytes up');
	cmp_ok($line->{down}, '>', 80, 'bytes down');
	is($line->{client}, '127.0.0.1:' . $sock->sockport, "the client's end of the one connection");
	is($line->{vip}, "127.0.0.1:$greet", 'our end of it');
	is($line->{address}, '127.0.0.1:' . $greeter->port, "the server's end of the other");
	like($line->{source}, qr/^127\.0\.0\.1:\d+$/, 'and ours');
};

subtest 'half-close' => sub {
	mark($sy);
	my $sock = dial($act);
	say($sock, "count\n" . 'x' x 1000);
	half_close($sock);
	like(hear($sock, qr/\n/), qr/^1000 /, 'the client ends, the server answers');
	is(ending($sock), 'end', 'and ends, too');
	my $file = "$sy->{dir}/rest";
	$sock = dial($act);
	say($sock, "end $file\n");
	is(hear_all($sock), "bye\n<end>", 'the server ends');
	say($sock, 'still here');
	half_close($sock);
	is(line_of($sy, $sock)->{end}, 'server-done', 'the server closed first');
	is(Steelyard::wait_for('what it heard', sub { open my $in, '<', $file or return; local $/; <$in> }), 'still here', 'and has heard the rest');
	$sock = dial($greet);
	half_close($sock);
	like(hear_all($sock), qr/^hello .*<end>$/s, 'a client that says nothing at all is answered');
};

# The server gives so many bytes; whether they arrive as they are.
sub give {
	my ($port, $n) = @_;
	my $want = join '', map { chr(($_ * 7) & 255) } 0 .. 9999;
	my $sock = dial($port);
	say($sock, "give $n\n");
	my ($got, $good) = (0, 1);
	while (my $some = sysread $sock, my $part, 10000 - $got % 10000) {
		$good &&= $part eq substr $want, $got % 10000, $some;
		$got += $some;
	}
	is($got, $n, "$n bytes down");
	ok($good, 'each as it was');
}

subtest 'bulk' => sub {
	mark($sy);
	my $pipes = sub { my $n = 0; $n += $_->{pipes} // 0 for @{ $sy->api('GET', '/v1/memory')->{workers} }; return $n };
	give($sy->port('copied'), 30_000_000);
	is($pipes->(), 0, 'splice off: no pipe has been needed');
	my $bytes = join '', map { pack 'N', $_ * 2654435761 & 0xffffffff } 1 .. 1_000_000;
	my $sock = dial($act);
	my $pid = fork // die;
	if (!$pid) { say($sock, "count\n$bytes"); half_close($sock); POSIX::_exit(0) }
	is(hear($sock, qr/\n/), length($bytes) . ' ' . sha256_hex($bytes) . "\n", '4 MB up, each byte');
	waitpid $pid, 0;
	give($act, $_) for 1, 65535, 65536, 65537, 30_000_000;
	cmp_ok($pipes->(), '>', 0, 'splice on: they went through a pipe');
	my $want = join '', map { chr(($_ * 7) & 255) } 0 .. 9999;
	$sock = dial($act, receive => 100_000);
	say($sock, "give 3000000\n");
	my ($got, $good) = (0, 1);
	while (my $some = sysread $sock, my $part, 10000 - $got % 10000) {
		$good &&= $part eq substr $want, $got % 10000, $some;
		$got += $some;
		select undef, undef, undef, 0.001 if $got % 7 == 0;
	}
	is($got, 3_000_000, 'to a client that reads slowly');
	ok($good, 'each as it was');
	close $sock;
	$sock = dial($act);
	say($sock, "count 0.002\n");
	$pid = fork // die;
	if (!$pid) { say($sock, $bytes); half_close($sock); POSIX::_exit(0) }
	is(hear($sock, qr/\n/), length($bytes) . ' ' . sha256_hex($bytes) . "\n", 'to a server that reads slowly');
	waitpid $pid, 0;
};

subtest 'resets' => sub {
	mark($sy);
	my $sock = dial($act);
	say($sock, "reset\n");
	is(hear_all($sock), "soon\n<reset>", 'the reset of the server is passed on');
	my $line = line_of($sy, $sock);
	is($line->{end}, 'server-reset', 'with its reason');
	like($line->{words}, qr/^server reset the connection 0\.\d s after the last byte; idle timeout is 1800 s$/, 'and numbers');
	$sock = dial($act);
	my $port = $sock->sockport;
	say($sock, "wait\n");
	select undef, undef, undef, 0.1;
	cut($sock);
	$line = line_of($sy, $port);
	is($line->{end}, 'client-reset', 'so is that of the client');
	Steelyard::wait_for('the end of it', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
	$sock = dial($act);
	my $pid = fork // die;
	if (!$pid) { say($sock, "refuse\n" . 'x' x 5_000_000); POSIX::_exit(0) }
	like(hear($sock, qr/\n/), qr/^413 too large\n/, 'an answer before the end of the question arrives');
	kill 'KILL', $pid;
	waitpid $pid, 0;
};

subtest 'silence' => sub {
	mark($sy);
	my $port = $sy->port('short');
	my $sock = dial($port);
	say($sock, "wait\n");
	my $from = Time::HiRes::time();
	is(ending($sock), 'reset', 'an idle connection is reset');
	my $took = Time::HiRes::time() - $from;
	cmp_ok($took, '>=', 0.9, sprintf 'not before its time (%.2f s)', $took);
	cmp_ok($took, '<', 10, 'nor long after');
	my $line = line_of($sy, $sock);
	is("$line->{end}: $line->{words}", 'idle: nothing was said for 1.0 s, that is idle-timeout', 'in words');
	$sock = dial($port);
	say($sock, "wait\n");
	for (1 .. 6) { select undef, undef, undef, 0.3; say($sock, '.') }
	ok(!IO::Select->new($sock)->can_read(0), 'one that speaks now and then stays');
	is(ending($sock), 'reset', 'until it does not');
	cmp_ok(line_of($sy, $sock)->{ms}, '>=', 2600, 'counted from the last byte');
};

subtest 'addresses' => sub {
	my $port = $sy->port('any');
	mark($sy);
	my $sock = dial($port, address => '127.0.0.77', from => '127.0.0.78');
	like(hear($sock, qr/\n/), qr/^hello/, 'a service on all addresses');
	half_close($sock);
	hear_all($sock);
	my $line = line_of($sy, $sock);
	is($line->{vip}, "127.0.0.77:$port", 'the address that the client used is known');
	like($line->{client}, qr/^127\.0\.0\.78:/, 'and that of the client');
	SKIP: {
		skip 'this machine has no IPv6', 2 unless $six;
		my ($addr) = grep { /^\[/ } $sy->addresses('greet');
		$sock = dial($addr =~ s/.*://r, address => '::1');
		like(hear($sock, qr/\n/), qr/^hello/, 'IPv6 outside, IPv4 inside');
		half_close($sock);
		hear_all($sock);
		like(line_of($sy, $sock)->{client}, qr/^\[::1\]:\d+$/, 'printed as it should be');
	}
};

is($sy->api('GET', '/v1/status')->{active}, 0, 'nothing is left open');
is($sy->stop, 0, 'it ends well');
done_testing;
