#!/usr/bin/env perl
# Health as an administrator sees it: which servers are up, why not, and since when. Servers of every
# kind stand behind one daemon; then what sharing, jitter, rise and fall, reload and the death of the
# checker do to it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time sleep);

my $dir = tempdir('steelyard-checker-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# A server that says something to everybody who comes, and closes.
sub says {
	my ($text, %opt) = @_;
	return Steelyard->server('says', on => sub {
		my $sock = shift;
		return close $sock if fork; # many may come at once
		sysread $sock, my $question, 4096 if $opt{after};
		syswrite $sock, $text;
		sleep 0.3 if $opt{hold};
		POSIX::_exit(0);
	});
}

# A server that writes down when somebody came.
sub counts {
	my ($file, %opt) = @_;
	return Steelyard->server('counts', %opt, on => sub {
		my $sock = shift;
		open my $out, '>>', $file;
		syswrite $out, sprintf "%.6f\n", time;
		close $sock;
	});
}

sub came {
	my $file = shift;
	open my $in, '<', $file or return ();
	return map { $_ + 0 } <$in>;
}

sub program {
	my ($name, $text) = @_;
	open my $out, '>', "$dir/$name" or die $!;
	print $out "#!/bin/sh\n$text\n";
	close $out;
	chmod 0755, "$dir/$name";
	return "$dir/$name";
}

sub why { ($_[0]->seat($_[1], $_[2]) || { why => '' })->{why} }

subtest 'what each server is taken for, and why' => sub {
	my $echo = Steelyard->server('echo');
	my $mute = Steelyard->server('mute', mute => 1);
	my $smtp = says("220 mail.example.net ready\r\n", hold => 1);
	my $web = says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall ready", after => 1);
	my $sick = says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", after => 1);
	my $ssh = says("SSH-2.0-OpenSSH_9.2\r\n", hold => 1);
	my $shut = says('', after => 1);
	my $closed = Steelyard::free_port();
	my $good = program('good', 'echo all is well');
	my $bad = program('bad', 'echo "disk is full"; echo more; exit 1');
	my $weigh = program('weigh', 'echo "half asleep"; exit 52');
	my $zero = program('zero', 'echo "going home"; exit 2');
	my $names = program('names', 'echo $STEELYARD_SERVICE/$STEELYARD_SERVER/$STEELYARD_ADDRESS/$STEELYARD_PORT');
	my $slow = program('slow', 'sleep 30');
	my @table = (
		# port, monitor, state, why
		[$echo->port, 'tcp', 'up', qr/^tcp 127\.0\.0\.1:\d+: connected$/],
		[$closed, 'tcp', 'down', qr/^tcp 127\.0\.0\.1:$closed: connection refused/],
		[$mute->port, 'tcp { expect hello; }', 'down', qr/no answer within 900ms/],
		[$smtp->port, 'tcp { expect 220; match prefix; }', 'up', qr/the expected answer/],
		[$ssh->port, 'tcp { expect 220; match prefix; }', 'down', qr/but "SSH-2\.0-OpenSSH_9\.2"/],
		[$echo->port, "tcp { send 'PING\\n'; expect ': PING'; }", 'up', qr/the expected answer/],
		[$closed, 'tcp { port ' . $echo->port . '; }', 'up', qr/connected/],
		[$echo->port, "tcp { port $closed; }", 'down', qr/:$closed: connection refused/],
		[$echo->port, 'tcp { address 127.0.0.77; port ' . $closed . '; }', 'down', qr/127\.0\.0\.77:$closed/],
		[$web->port, 'http', 'up', qr/^http .*: status 200/],
		[$web->port, 'http { contains "all ready"; }', 'up', qr/the page contains/],
		[$web->port, 'http { contains maintenance; }', 'down', qr/does not contain "maintenance"/],
		[$sick->port, 'http', 'down', qr/status 503 Service Unavailable/],
		[$sick->port, 'http { status 200,500-503; }', 'up', qr/status 503/],
		[$ssh->port, 'http', 'down', qr/no HTTP/],
		[$shut->port, 'http', 'down', qr/without a word/],
		[$mute->port, 'http', 'down', qr/no answer within 900ms/],
		[$closed, "exec { command $good; }", 'up', qr/: all is well$/],
		[$closed, "exec { command $bad; }", 'down', qr/exit status 1: disk is full/],
		[$closed, "exec { command $weigh; }", 'down', qr/exit status 52: half asleep/],
		[$closed, "exec { command $weigh; dynamic on; }", 'up', qr/weight 50 %: half asleep/],
		[$closed, "exec { command $zero; dynamic on; }", 'draining', qr/weight 0: going home/],
		[$closed, "exec { command $names; }", 'up', qr{: s\d+/s/127\.0\.0\.1/$closed$}],
		[$closed, "exec { command $slow; }", 'down', qr/did not end within 900ms/],
		[$closed, 'exec { command /nonexistent/program; }', 'down', qr{/nonexistent/program}],
		[$mute->port, 'tls', 'down', qr/no answer to the TLS handshake within 900ms/],
		[$ssh->port, 'tls', 'down', qr/does not speak TLS/],
		[$shut->port, 'tls', 'down', qr/TLS handshake failed: the server (closed|reset) the connection/],
	);
	my $conf = '';
	for my $i (0 .. $#table) {
		my ($port, $monitor) = @{ $table[$i] };
		my $times = 'interval 1s; timeout 900ms; fall 1; rise 1;';
		$monitor =~ s/\{/{ $times/ or $monitor .= " { $times }";
		$conf .= "pool p$i { server s 127.0.0.1:$port; }\n"
			. "virtual-service s$i { listen 127.0.0.1:0; pool p$i; monitor $monitor }\n";
	}
	my $sy = Steelyard->start($conf);
	for my $i (0 .. $#table) {
		my ($port, $monitor, $state, $why) = @{ $table[$i] };
		my $seat;
		eval {
			Steelyard::wait_for("s$i to be $state", sub {
				$seat = $sy->seat("s$i", 's');
				$seat->{state} eq $state && $seat->{why} =~ $why;
			}, 30);
		};
		is($seat->{state}, $state, "$monitor: $state");
		like($seat->{why}, $why, '  and the words are right');
	}
	is($sy->stop, 0, 'it ends well');
};

subtest 'all and any of several monitors' => sub {
	my $one = Steelyard->server('one');
	my $two = Steelyard->server('two');
	my ($p1, $p2) = ($one->port, $two->port);
	my $monitors = "monitor tcp { interval 200ms; fall 1; rise 1; }\n"
		. "monitor tcp { interval 200ms; fall 1; rise 1; port $p2; }";
	my $sy = Steelyard->start(<<CONF);
pool p { server s 127.0.0.1:$p1; }
pool sorry { server sad 127.0.0.1:$p2; }
virtual-service all { listen 127.0.0.1:0; pool p; sorry-pool sorry; $monitors }
virtual-service any { listen 127.0.0.1:0; pool p; monitor-policy any; $monitors }
virtual-service none { listen 127.0.0.1:0; pool p; }
virtual-service off { listen 127.0.0.1:0; pool p; enabled off; $monitors }
CONF
	$sy->wait_up($_, 's') for qw(all any);
	is($sy->seat('none', 's')->{state}, 'unchecked', 'without a monitor: unchecked');
	$two->kill;
	$sy->wait_down('all', 's');
	like(why($sy, 'all', 's'), qr/:$p2: connection refused/, 'all: the one that fails gives the reason');
	is($sy->seat('any', 's')->{state}, 'up', 'any: one is enough');
	$one->kill;
	$sy->wait_down('any', 's');
	pass('any: none is not');
	$two->again;
	$sy->wait_up('any', 's');
	is($sy->seat('all', 's')->{state}, 'down', 'all: still down');
	$one->again;
	$sy->wait_up('all', 's');
	like($sy->log_text, qr/server sad \(pool sorry, service all\) is down/, 'sorry servers are checked, too');
	unlike($sy->log_text, qr/service (none|off)\)/, 'services without monitors are not, nor what is off');
};

subtest 'one question, asked once' => sub {
	my $file = "$dir/shared";
	my $server = counts($file);
	my $port = $server->port;
	my $services = join '', map {
		"virtual-service s$_ { listen 127.0.0.1:0; pool p; monitor tcp { interval 500ms; fall 3; rise 1; fast-interval 100ms; } }\n"
	} 1 .. 20;
	my $sy = Steelyard->start("pool p { server edge1 127.0.0.1:$port; }\n$services");
	$sy->wait_up("s$_", 'edge1') for 1 .. 20;
	my $before = came($file);
	my $start = time;
	sleep 3;
	my ($n, $took) = (came($file) - $before, time - $start);
	cmp_ok($n, '<=', $took / 0.45 + 2, sprintf '20 services, one probe per interval: %d in %.1f s', $n, $took);
	cmp_ok($n, '>=', 2, 'and it is asked');
	$server->kill;
	my ($line) = $sy->wait_log(qr/(server edge1 .* is down: .*)/);
	is($line, "server edge1 (pool p, 20 services) is down: tcp 127.0.0.1:$port: connection refused, third time",
		'one line for all of them');
	$sy->wait_down("s$_", 'edge1') for 1 .. 20;
	$server->again;
	$sy->wait_up("s$_", 'edge1') for 1 .. 20;
	($line) = $sy->wait_log(qr/(server edge1 .* is up again .*)/);
	like($line, qr/^server edge1 \(pool p, 20 services\) is up again after \S+: tcp 127\.0\.0\.1:$port: connected$/,
		'and when it came back');
	is(scalar(() = $sy->log_text =~ /is down:/g), 1, 'no other');
};

subtest 'what counts as the same question' => sub {
	my $server = Steelyard->server('s');
	my $port = $server->port;
	my $program = program('same', 'exit 0');
	my @table = (
		# monitors of services that have the same server, checks that this makes
		[1, 'the same', 'tcp', 'tcp'],
		[1, 'the port of the service, and the same by number', 'tcp', "tcp port=$port"],
		[1, 'on the line, and in a block', 'tcp interval=3s rise=1', 'tcp { rise 1; interval 3s; }'],
		[1, 'a default, and the same written down', 'http', 'http { path /; method GET; }'],
		[1, 'the address of the server, and the same by number', 'tcp', 'tcp { address 127.0.0.1; }'],
		[2, 'another port', 'tcp', 'tcp { port 1; }'],
		[2, 'another address', 'tcp', 'tcp { address 127.0.0.2; }'],
		[2, 'another interval', 'tcp', 'tcp { interval 7s; }'],
		[2, 'another setting of the module', 'http', 'http { path /x; }'],
		[2, 'another module', 'tcp', 'http'],
		[1, 'pings have no port', 'icmp', 'icmp { port 5; }'],
		[2, 'programs are told the name of the service', "exec { command $program; }", "exec { command $program; }"],
	);
	for my $row (@table) {
		my ($want, $about, @monitors) = @$row;
		my $n = 0;
	SKIP: {
		skip 'pinging needs root, or a ping_group_range', 1 if $monitors[0] eq 'icmp' && $> != 0;
		my $services = join '', map { my $m = $_ =~ /\}$/ ? $_ : "$_;"; $n++;
			"virtual-service s$n { listen 127.0.0.1:0; pool p$n; monitor $m }\n" } @monitors;
		my $pools = join '', map { "pool p$_ { server s 127.0.0.1:$port; }\n" } 1 .. $n;
		my $sy = Steelyard->start($pools . $services, head => "workers 1;\n");
		my ($checks) = $sy->wait_log(qr/every server was asked once: (\d+) checks/);
		is($checks, $want, "$about: $want");
	}
	}
};

subtest 'probes do not burst' => sub {
	my $file = "$dir/jitter";
	my $server = counts($file, address => '0.0.0.0');
	my $port = $server->port;
	my $servers = join '', map { sprintf "server s%d 127.1.%d.%d:%d;\n", $_, $_ / 200, $_ % 200 + 1, $port } 1 .. 300;
	my $sy = Steelyard->start("pool p {\n$servers}\nvirtual-service s { listen 127.0.0.1:0; pool p; monitor tcp { interval 2s; } }\n");
	$sy->wait_log(qr/every server was asked once: 300 checks, 0 of them down/);
	my @first = (sort { $a <=> $b } came($file))[0 .. 299];
	cmp_ok($first[-1] - $first[0], '<', 5, sprintf 'the first round is quick: %.2f s', $first[-1] - $first[0]);
	cmp_ok($first[-1] - $first[0], '>', 0.5, 'and spread');
	my $from = time + 2.5;
	sleep 6.5;
	my %per;
	$per{ int(($_ - $from) * 2) }++ for grep { $_ >= $from && $_ < $from + 4 } came($file);
	my @per = sort { $b <=> $a } map { $per{$_} || 0 } 0 .. 7;
	my $sum = 0;
	$sum += $_ for @per;
	cmp_ok($sum, '>', 480, "about 600 probes in 4 s: $sum");
	cmp_ok($sum, '<', 720, 'not more');
	cmp_ok($per[0], '<', 300, "75 in half a second on the average, $per[0] at the most");
};

subtest 'rise, fall, fast interval' => sub {
	my $server = Steelyard->server('s');
	my $port = $server->port;
	my $sy = Steelyard->start(<<CONF);
pool p { server s 127.0.0.1:$port; }
virtual-service s { listen 127.0.0.1:0; pool p; monitor tcp { interval 2s; fast-interval 200ms; fall 4; rise 3; } }
CONF
	$sy->wait_up('s', 's');
	my $start = time;
	$server->kill;
	Steelyard::wait_for('the first failure', sub { why($sy, 's', 's') =~ /\(1 of 4\)/ });
	is($sy->seat('s', 's')->{state}, 'up', 'one failure does not make it down');
	$start = time;
	$sy->wait_down('s', 's');
	cmp_ok(time - $start, '<', 5, sprintf 'then it is asked faster: %.2f s', time - $start);
	like(why($sy, 's', 's'), qr/connection refused, fourth time$/, 'after the fourth');
	$server->again;
	Steelyard::wait_for('the first success', sub { why($sy, 's', 's') =~ /connected \(1 of 3\)/ });
	is($sy->seat('s', 's')->{state}, 'down', 'one success does not make it up');
	$sy->wait_up('s', 's');
	pass('three do');
};

subtest 'a reload and a killed checker forget nothing' => sub {
	my $alive = Steelyard->server('alive');
	my $dead = Steelyard->server('dead');
	my ($p1, $p2) = ($alive->port, $dead->port);
	my $conf = sub {
		my ($settings, $more) = @_;
		return "pool p { server alive 127.0.0.1:$p1; server dead 127.0.0.1:$p2; }\n"
			. "virtual-service s { listen 127.0.0.1:0; pool p; monitor tcp { $settings fall 2; rise 2; } }\n" . ($more // '');
	};
	my $sy = Steelyard->start($conf->('interval 300ms;'));
	$sy->wait_up('s', $_) for qw(alive dead);
	$dead->kill;
	$sy->wait_down('s', 'dead');
	my $since = $sy->seat('s', 'dead')->{since};
	my $same = sub {
		my $what = shift;
		my $seat = $sy->seat('s', 'dead');
		is($seat->{state}, 'down', "$what: still down");
		is($seat->{since}, $since, '  since the same moment');
		is($sy->seat('s', 'alive')->{state}, 'up', '  the other is still up');
		is(scalar(() = $sy->log_text =~ /server dead \(pool p, service s\) is down/g), 1, '  nothing is told again');
	};
	my ($ok, $text) = $sy->reload($conf->('interval 300ms;', "virtual-service more { listen 127.0.0.1:0; pool p; }\n"));
	ok($ok, 'reload') or diag $text;
	$same->('reload');
	($ok, $text) = $sy->reload($conf->('interval 200ms; timeout 100ms;'));
	ok($ok, 'reload with another interval') or diag $text;
	$same->('another interval');
	Steelyard::wait_for('the old generations to go', sub {
		my ($checker) = grep { $_->{role} eq 'checker' } @{ $sy->api('GET', '/v1/generations')->{processes} };
		$checker->{alive} == 1;
	});
	pass('the checker lets go of old generations');
	for my $round (1 .. 3) {
		my $pid = $sy->pid_of('checker');
		kill 'KILL', $pid;
		Steelyard::wait_for('another checker', sub { my $new = $sy->pid_of('checker'); $new && $new != $pid });
		$same->("checker killed, round $round");
	}
	$dead->again;
	$sy->wait_up('s', 'dead');
	pass('the new checker checks');
	$sy->wait_log(qr/server dead .* is up again/);
	$dead->kill;
	$sy->wait_down('s', 'dead');
	$since = $sy->seat('s', 'dead')->{since};
	my $other = Steelyard->server('dead');
	$p2 = $other->port;
	($ok, $text) = $sy->reload($conf->('interval 200ms; timeout 100ms;'));
	ok($ok, 'reload with another port') or diag $text;
	my $seat = $sy->seat('s', 'dead');
	isnt($seat->{state}, 'down', 'another port is another question: nothing is carried over');
	$sy->wait_up('s', 'dead');
};

subtest 'suspicion, and being asked' => sub {
	my $server = Steelyard->server('s');
	my $port = $server->port;
	my $sy = Steelyard->start(<<CONF);
pool p { server s 127.0.0.1:$port; }
virtual-service s { listen 127.0.0.1:0; pool p; monitor tcp { interval 10m; fall 1; rise 1; } }
CONF
	$sy->wait_up('s', 's');
	sleep 1.1; # a check runs once a second at most for this reason
	$server->kill;
	my $start = time;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('s'), Timeout => 10);
	sysread $sock, my $bytes, 1 if $sock;
	$sy->wait_down('s', 's');
	cmp_ok(time - $start, '<', 10, sprintf 'a failed connect has the server checked: %.2f s, not 10 minutes', time - $start);
	$server->again;
	my (undef, $status) = $sy->api('POST', '/v1/checks');
	is($status, 200, 'check now');
	$sy->wait_up('s', 's');
	pass('and it was');
};

subtest 'draining' => sub {
	my $a = Steelyard->server('a');
	my $b = Steelyard->server('b');
	open my $out, '>', "$dir/status-a";
	print $out 0;
	close $out;
	my $script = program('status', qq{[ "\$STEELYARD_SERVER" = b ] && exit 0\nexit `cat $dir/status-a`});
	my $sy = Steelyard->start(<<CONF);
pool p { server a 127.0.0.1:@{[ $a->port ]}; server b 127.0.0.1:@{[ $b->port ]}; }
virtual-service s {
	listen 127.0.0.1:0;
	pool p;
	scheduler round-robin;
	monitor exec { command $script; dynamic on; interval 2s; fall 1; rise 1; }
}
CONF
	$sy->wait_up('s', $_) for qw(a b);
	my $who = sub {
		my $sock = shift || IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('s')) || return '';
		print $sock "hello\n";
		my $line = <$sock> // '';
		return ($line =~ /^(\w+): hello/ ? $1 : '', $sock);
	};
	my ($name, $sock) = ('', undef);
	for (1 .. 20) {
		($name, $sock) = $who->();
		last if $name eq 'a';
	}
	is($name, 'a', 'a connection to a');
	open $out, '>', "$dir/status-a.new";
	print $out 2;
	close $out;
	rename "$dir/status-a.new", "$dir/status-a";
	$sy->wait_state('s', 'a', 'draining');
	my %got;
	$got{ ($who->())[0] }++ for 1 .. 10;
	is_deeply(\%got, { b => 10 }, 'no new client gets there');
	is(($who->($sock))[0], 'a', 'who is there stays');
	like($sy->log_text, qr/server a \(pool p, service s\) takes no new clients: exec .*: weight 0/, 'and the log says so');
};

subtest 'refused in words' => sub {
	open my $out, '>', "$dir/no.pem";
	print $out "not a certificate\n";
	close $out;
	my $conf = "pool p { server s 127.0.0.1:1; }\n";
	my $service = sub { "virtual-service s { listen 127.0.0.1:0; pool p; monitor $_[0] }\n" };
	my $sy = Steelyard->start($conf . $service->('tcp;'));
	my ($ok, $text) = $sy->reload($conf . $service->("tls { verify on; ca $dir/no.pem; }"));
	ok(!$ok, 'a ca file that is none');
	like($text, qr/service s: monitor tls: the ca file holds no certificate/, 'in words');
	($ok, $text) = $sy->reload($conf . $service->('exec { command ls; }'));
	ok(!$ok, 'a program without a path');
	like($text, qr/"ls" is no absolute path/, 'in words');
	($ok, $text) = $sy->reload($conf . $service->('tcp;'));
	ok($ok, 'the daemon goes on') or diag $text;
};

done_testing;
