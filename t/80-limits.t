#!/usr/bin/env perl
# When something runs out: descriptors, places, the patience of a client. Service goes on for the
# others, nothing spins, and the log says what it was.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(cpu descriptors memory sanitized wait_for);
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_RCVBUF SO_SNDBUF IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time sleep);

$SIG{PIPE} = 'IGNORE';
my $echo = Crowd::Server->new('s1');
my $flood = Crowd::Server->new('f1', what => 'flood');
my $tell = Crowd::Server->new('t1', what => 'tell');
my $sink = Crowd::Server->new('k1', what => 'sink');

sub conf {
	my $head = shift // '';
	my $conf = "workers 1;\n$head";
	my %port = (echo => $echo, flood => $flood, tell => $tell, sink => $sink);
	for my $name (sort keys %port) {
		$conf .= "pool $name { server $name 127.0.0.1:" . $port{$name}->port . "; }\n"
			. "virtual-service $name { listen 127.0.0.1:0; pool $name; }\n";
	}
	return $conf . <<CONF;
virtual-service idle { listen 127.0.0.1:0; pool echo; idle-timeout 1s; }
virtual-service greet { listen 127.0.0.1:0; pool echo; accept-proxy-from 127.0.0.0/8; greet-timeout 500ms; }
CONF
}

sub client {
	my ($port, %opt) = @_;
	my $sock = IO::Socket::INET->new(Proto => 'tcp') or die;
	setsockopt $sock, SOL_SOCKET, SO_RCVBUF, $opt{receive} if $opt{receive};
	setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
	$sock->timeout(10);
	return $sock->connect(Socket::pack_sockaddr_in($port, Socket::inet_aton('127.0.0.1'))) ? $sock : undef;
}
sub ask {
	my ($sock, $limit) = @_;
	return '' unless $sock;
	syswrite $sock, "hello\n" or return "reset ($!)";
	return read_some($sock, $limit);
}
sub read_some {
	my ($sock, $limit) = @_;
	return 'late' unless IO::Select->new($sock)->can_read($limit // 10);
	my $n = sysread $sock, my $bytes, 1000;
	return defined $n ? $n ? $bytes : 'end' : "reset ($!)";
}
sub spinning {
	my ($pid, $seconds) = @_;
	my $from = cpu($pid);
	sleep $seconds;
	return (cpu($pid) - $from) / $seconds;
}
sub active { my ($sy) = @_; return $sy->api('GET', '/v1/status')->{active} }
# The soft limit of descriptors of a running process, as its own user: that needs no capability.
sub limit_of {
	my ($pid, $set) = @_;
	my @as;
	if ($> == 0) {
		my ($uid, $gid) = (stat "/proc/$pid")[4, 5];
		@as = ('setpriv', "--reuid=$uid", "--regid=$gid", '--clear-groups');
	}
	my @cmd = (@as, 'prlimit', '--pid', $pid, defined $set ? "--nofile=$set:" : qw(--nofile --noheadings --output SOFT));
	open my $out, '-|', @cmd or die "@cmd: $!";
	my $line = <$out> // '';
	close $out or die "@cmd: $?";
	return $line =~ /(\d+)/ ? $1 : undef;
}
# How much of a processor a process that has nothing to do may take.
my $still = sanitized() ? 0.3 : 0.15;

subtest 'no descriptor is left' => sub {
	my $sy = Steelyard->start(conf());
	my $worker = $sy->pid_of('worker');
	my $port = $sy->port('echo');
	my $crowd = Crowd->new("127.0.0.1:$port", hold => 20, every => 50);
	$crowd->wait('the crowd', sub { $_[0]{held} == 20 });
	my $there = descriptors($worker);
	my $nofile = sub { return limit_of($worker, @_) };
	my $before = $nofile->();
	ok($before > 1000, "the worker may have $before descriptors");
	$nofile->($there + 10);
	my $began = time;
	my @crowd = map { IO::Socket::INET->new(Blocking => 0, PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 120;
	$sy->wait_log(qr/warn worker 0: accept: .*no descriptor left/);
	my $from = $crowd->report;
	my $load = spinning($worker, 2);
	my $gone = grep { IO::Select->new($_)->can_read(0) } @crowd;
	my $turns = 10 * (time - $began);
	cmp_ok($gone, '<=', $turns + 10, sprintf 'accept pauses: %d were turned away in %.0f pauses', $gone, $turns);
	cmp_ok($gone, '>=', 2, 'and goes on after each');
	diag sprintf 'at EMFILE with a full queue: %.1f %% of a processor', 100 * $load;
	cmp_ok($load, '<', $still, 'it does not spin');
	my $r = $crowd->wait('exchanges', sub { $_[0]{exchanges} > $from->{exchanges} + 100 });
	is($r->{lost} + $r->{late}, 0, 'those who were there before are served');
	my @complaints = $sy->log_text =~ /(no descriptor left.*)/g;
	cmp_ok(scalar @complaints, '<=', 5, 'one line a second at most: ' . $complaints[0]);
	my @said = map { ask($_, 0.05) } @crowd;
	my %said;
	$said{ /^s1: / ? 'served' : /reset|end/ ? 'reset' : 'waits' }++ for @said;
	diag join ', ', map { "$said{$_} $_" } sort keys %said;
	cmp_ok($said{served} // 0, '>', 0, 'some of the new ones are served');
	cmp_ok($said{reset} // 0, '>', 0, 'some are told at once that they are not, instead of being left to wait');
	is($sy->pid_of('worker'), $worker, 'in the same process');
	like($sy->ctl('status'), qr/echo/, 'steelyardctl answers');
	my $service = $sy->api('GET', '/v1/services/echo');
	cmp_ok($service->{refused} // 0, '>', 0, 'they are counted');
	@crowd = ();
	wait_for('a client to be served again', sub { ask(client($port)) =~ /^s1: / });
	pass('when others leave, there is room again');
	@crowd = map { IO::Socket::INET->new(Blocking => 0, PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 60;
	sleep 0.3;
	$nofile->($before);
	wait_for('a client to be served again', sub { ask(client($port)) =~ /^s1: / });
	pass('and when the limit is raised');
	# Reload and rotation bring descriptors: no reason to die.
	$nofile->(descriptors($worker));
	my ($ok, $text) = $sy->reload(conf("# changed\n"));
	ok(!$ok, 'a reload is refused when a worker has no descriptor left for it');
	like($text, qr/worker 0: no descriptor is left/, 'in words');
	kill 'USR1', $sy->{pid};
	$nofile->($before);
	wait_for('a reload to be possible again', sub { ($ok) = $sy->reload(conf("# changed again\n")); $ok });
	is($sy->pid_of('worker'), $worker, 'in the same process');
	is($crowd->report->{lost}, 0, 'nobody of the first was lost');
	@crowd = ();
	$crowd->stop;
	wait_for('all to have ended', sub { active($sy) == 0 });
	cmp_ok(descriptors($worker), '<=', $there, 'no descriptor is left behind');
	is($sy->stop, 0, 'it ends well');
};

subtest 'worker-connections' => sub {
	my $sy = Steelyard->start(conf("worker-connections 16;\n"));
	my $worker = $sy->pid_of('worker');
	my $port = $sy->port('echo');
	my @there = map { client($port) } 1 .. 16;
	is(scalar(grep { ask($_) =~ /^s1: / } @there), 16, 'sixteen are served');
	my @wait = map { client($port) } 1 .. 5;
	is(ask($wait[0], 0.5), 'late', 'the seventeenth waits');
	$sy->wait_log(qr/16 connections are open, that is worker-connections/);
	my $load = spinning($worker, 1.5);
	diag sprintf 'at worker-connections: %.1f %% of a processor', 100 * $load;
	cmp_ok($load, '<', $still, 'it does not spin');
	close shift @there for 1 .. 5;
	like(read_some($wait[0]), qr/^s1: hello/, 'and is served when there is room');
	is(scalar(grep { ask($_) =~ /^s1: / } @wait, @there), 16, 'so are the others');
	is($sy->stop, 0, 'it ends well');
};

subtest 'clients that never read, and servers that never do' => sub {
	my $sy = Steelyard->start(conf());
	my $worker = $sy->pid_of('worker');
	my $crowd = Crowd->new('127.0.0.1:' . $sy->port('echo'), hold => 20, every => 20, rate => 50);
	$crowd->wait('the crowd', sub { $_[0]{held} == 20 });
	my $before = memory($worker)->{own};
	my $many = 60;
	my @clients = map { client($sy->port('flood'), receive => 4096) } 1 .. $many;
	# The other direction: the server's queue fills, then ours, then the client's.
	$sink->kill('STOP');
	my @givers = map { client($sy->port('sink')) } 1 .. 10;
	$_->blocking(0) for @givers;
	my $bytes = 'x' x 65536;
	my $stuck = sub { my $n = 0; for my $sock (@givers) { 1 while syswrite $sock, $bytes; $n++ } return $n };
	my $still_count = sub { my $n = 0; $n += $_->{bytes_down} + $_->{bytes_up} for grep { $_->{service} =~ /flood|sink/ }
		@{ $sy->api('GET', '/v1/connections?limit=1000')->{connections} }; return $n };
	my $last = -1;
	wait_for('all buffers to be full', sub { $stuck->(); my $now = $still_count->(); my $same = $now == $last; $last = $now; sleep 0.1; $same });
	my $after = memory($worker)->{own};
	diag sprintf '%d clients that do not read, %d givers to a server that does not: %d KiB each of the worker',
		$many, scalar @givers, ($after - $before) / ($many + @givers);
	SKIP: {
		skip 'built with sanitizers: memory says nothing', 1 if sanitized();
		cmp_ok(($after - $before) / ($many + @givers), '<', 128, 'a connection that is stuck is bounded');
	}
	$crowd->report;
	my $from = $crowd->report;
	my $load = spinning($worker, 2);
	my $r = $crowd->report;
	diag sprintf 'meanwhile %.1f %% of a processor for %d exchanges; the slowest took %d ms', 100 * $load,
		$r->{exchanges} - $from->{exchanges}, $r->{exchange_max};
	cmp_ok($r->{exchange_max}, '<', 1000, 'the others do not notice');
	is($r->{lost} + $r->{new_failed}, 0, 'and lose nothing');
	cmp_ok($load, '<', $still + 0.25, 'nothing spins');
	# Slow ones: a little now and then.
	my $got = 0;
	for (1 .. 20) {
		for my $sock (@clients[0 .. 9]) { $got += sysread($sock, my $some, 1000) // 0 }
	}
	cmp_ok($got, '>=', 100_000, 'those who begin to read, get');
	$sink->kill('CONT');
	wait_for('the stuck server to go on', sub { $stuck->(); $still_count->() > $last + 10 * 65536 });
	pass('a server that reads again, gets');
	close $_ for @clients, @givers;
	$crowd->stop;
	wait_for('all to have ended', sub { active($sy) == 0 });
	SKIP: {
		skip 'built with sanitizers: memory says nothing', 1 if sanitized();
		my $end = memory($worker)->{own};
		cmp_ok($end - $before, '<', 2048, sprintf 'the memory is given back (%d KiB more than before)', $end - $before);
	}
	is($sy->stop, 0, 'it ends well');
};

subtest 'clients that say nothing, little, or half' => sub {
	my $sy = Steelyard->start(conf());
	my $worker = $sy->pid_of('worker');
	my @silent = map { client($sy->port('idle')) } 1 .. 50;
	my @greet = map { client($sy->port('greet')) } 1 .. 50;
	my $start = time;
	like(read_some($greet[0], 10), qr/reset/, 'one that owes a PROXY header is reset after greet-timeout');
	cmp_ok(time - $start, '<', 30, 'in time');
	$sy->wait_log(qr/client said 0 bytes, not enough, within greet-timeout \(500ms\)/);
	pass('with words');
	my @ends = map { read_some($_, 10) } @silent;
	is(scalar(grep { /reset/ } @ends), 50, 'fifty that say nothing are reset after idle-timeout');
	$sy->wait_log(qr/nothing was said for 1\.0 s, that is idle-timeout.*service=idle.*end=idle/);
	pass('with words');

	# Whoever says something now and then, stays.
	my $alive = client($sy->port('idle'));
	my $good = 0;
	for (1 .. 6) { $good += ask($alive) =~ /^s1: /; sleep 0.4 }
	is($good, 6, 'one that speaks every 400 ms outlives an idle-timeout of 1 s');

	# Half-closed: everything said, the answer still to come.
	my $all = 0;
	for my $n (1 .. 20) {
		my $sock = client($sy->port('tell'));
		print $sock 'x' x (1000 * $n);
		shutdown $sock, 1;
		local $/;
		my $answer = <$sock> // '';
		$all++ if $answer eq sprintf "t1: %d bytes\n", 1000 * $n;
	}
	is($all, 20, 'twenty that end their half get the whole answer');
	$sy->wait_log(qr/client closed first.*service=tell.*up=20000 down=16.* end=client-done/);
	pass('counted to the byte');

	# Half-open, and then silent: the idle timeout has the last word.
	my @half = map { client($sy->port('idle')) } 1 .. 20;
	shutdown $_, 1 for @half;
	@ends = map { read_some($_, 10) } @half;
	is(scalar(grep { $_ eq 'end' } @ends), 20, 'half-closed at once: the server ends, too');

	my $slow = client($sy->port('echo'));
	my $text = join('', map { chr(97 + $_ % 26) } 1 .. 300) . "\n";
	for my $byte (split //, $text) { syswrite $slow, $byte; sleep 0.0005 }
	is(read_some($slow), "s1: $text", 'a byte at a time: the line arrives whole');
	# A byte at a time through the PROXY header, too.
	my $header = client($sy->port('greet'));
	for my $byte (split //, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\nhello\n") { syswrite $header, $byte; sleep 0.0005 }
	is(read_some($header), "s1: hello\n", 'also through a PROXY header');
	close $_ for $slow, $header, $alive;
	$sy->wait_log(qr/client=192\.0\.2\.7:1234 via=127\.0\.0\.1:\d+ vip=192\.0\.2\.1:443/);
	wait_for('all to have ended', sub { active($sy) == 0 });
	is($sy->pid_of('worker'), $worker, 'in the same process');
	is($sy->stop, 0, 'it ends well');
};

done_testing;
