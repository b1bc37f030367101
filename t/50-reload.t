#!/usr/bin/env perl
# Reload inside the running processes: all or nothing, one at a time, one remembered; addresses,
# workers, log and control socket that come and go.
use strict;
use warnings;
no warnings "portable"; # numbers of 64 bits
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use File::Copy ();
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;

my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
sub pool {
	my $name = shift;
	return "pool $name { server s1 127.0.0.1:" . $s1->port . '; server s2 127.0.0.1:' . $s2->port . "; }\n";
}
sub service {
	my ($name, $listen) = @_;
	$listen //= '127.0.0.1:0';
	return "virtual-service $name { listen $listen; pool p; monitor tcp { interval 1s; } }\n";
}
my $base = pool('p') . service('web');
my $sy = Steelyard->start($base);
my $port = $sy->port('web');

sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0] // $port, Timeout => 10) }
sub works {
	my ($sock, $what) = @_;
	return 0 unless $sock;
	print $sock ($what // 'hello') . "\n" or return 0;
	my $line = <$sock> // '';
	return $line =~ /^s\d: / ? 1 : 0;
}
sub children {
	return join ' ', sort map { "$_->{role}" . ($_->{index} // '') . "=$_->{pid}" }
		grep { $_->{role} ne 'master' && $_->{pid} } @{ $sy->processes };
}
# Through the log, so that it does not depend on the console.
sub generation { my @all = $sy->log_text =~ /master: generation (\d+):/g; return $all[-1] // 1 }

my $held = client();
ok(works($held), 'a connection that will be held through all of this');
my $children = children();

subtest 'a broken configuration changes nothing' => sub {
	my ($ok, $text) = $sy->reload($base . "virtual-service x {\n\tlisten 127.0.0.1:0;\n\tpol p;\n}\n");
	ok(!$ok, 'it is refused');
	like($text, qr/steelyard\.conf:\d+/, 'with file and line');
	like($text, qr/pol/, 'and what was wrong');
	like($sy->log_text, qr/err master: .*steelyard\.conf:\d+/, 'the log says so, too');
	is($sy->port('web'), $port, 'the address is the same');
	ok(works(client()) && works($held), 'it works as before');
	($ok, $text) = $sy->reload($base);
	ok($ok, 'repaired: it is accepted') or diag $text;
	like($text, qr/generation/, 'and says what runs now');
	is(children(), $children, 'in the same processes');
	rename "$sy->{file}", "$sy->{file}.away";
	($ok, $text) = $sy->reload;
	ok(!$ok, 'a file that is not there is refused');
	like($text, qr/steelyard\.conf/, 'and named');
	rename "$sy->{file}.away", "$sy->{file}";
	($ok, $text) = $sy->reload;
	ok($ok, 'and back');
};

subtest 'twenty HUPs at once' => sub {
	my $before = generation();
	$sy->write_conf($base . service('last'));
	my $marks = () = $sy->log_text =~ /no longer listening|listening:/g;
	for (1 .. 20) {
		kill 'HUP', $sy->{pid};
		select undef, undef, undef, 0.001;
	}
	$sy->wait_log(qr/listening: .*where=\S+:\d+\n(?:.*\n)*?.*master: generation/);
	Steelyard::wait_for('the reloads to be over', sub {
		my $now = generation();
		select undef, undef, undef, 0.3;
		$now > $before && $now == generation();
	});
	cmp_ok(generation() - $before, '>=', 1, 'at least one reload');
	ok(works(client($sy->port('last'))), 'the last word counts');
	ok(works(client()) && works($held), 'the rest works as before');
	is(children(), $children, 'in the same processes');
};

subtest 'many who ask at the same time are all answered' => sub {
	my @pids;
	for (1 .. 8) {
		my $pid = fork // die;
		if (!$pid) {
			my ($text, $status) = $sy->ctl('reload');
			POSIX::_exit($status);
		}
		push @pids, $pid;
	}
	my $good = 0;
	for (@pids) { waitpid $_, 0; $good++ if $? == 0 }
	is($good, 8, 'eight of eight');
};

subtest 'addresses come and go' => sub {
	my ($ok, $text) = $sy->reload($base . service('two') . service('three'));
	ok($ok, 'two more services') or diag $text;
	my ($two, $three) = ($sy->port('two'), $sy->port('three'));
	ok(works(client($_)), "a client on $_") for $two, $three;
	my $conn = client($three);
	ok(works($conn), 'one stays connected');
	($ok, $text) = $sy->reload($base . service('two'));
	ok($ok, 'one of them goes') or diag $text;
	$sy->wait_log(qr/no longer listening: 127\.0\.0\.1:$three /);
	Steelyard::wait_for('its address to refuse', sub { !client($three) });
	pass('its address refuses');
	is($sy->port('two'), $two, 'the other keeps its port');
	ok(works(client($two)) && works(client()), 'and serves');
	ok(works($conn), 'the connection of the removed one lives on');
	close $conn;
	($ok, $text) = $sy->reload($base);
	ok($ok, 'all gone again');
	is(children(), $children, 'in the same processes');
};

subtest 'an address that somebody else has' => sub {
	my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
	my $taken = $other->sockport;
	my ($ok, $text) = $sy->reload($base . service('free') . service('mine', "127.0.0.1:$taken"));
	ok(!$ok, 'the reload is refused');
	like($text, qr/steelyard\.conf:\d+.*127\.0\.0\.1:$taken/, 'with the place and the address');
	ok(works(client()) && works($held), 'nothing has changed');
	my $services = $sy->api('GET', '/v1/services')->{services};
	is(join(',', map { $_->{name} } @$services), 'web', 'the services are those of before');
	close $other;
	($ok, $text) = $sy->reload($base . service('mine', "127.0.0.1:$taken"));
	ok($ok, 'now it is free') or diag $text;
	ok(works(client($taken)), 'and serves');
	$sy->reload($base);
};

subtest 'an address moves to another service' => sub {
	my ($ok, $text) = $sy->reload($base . service('a', '127.0.0.1:' . (my $p = Steelyard::free_port())));
	ok($ok, 'service a') or diag $text;
	my $conn = client($p);
	ok(works($conn), 'has a client');
	($ok, $text) = $sy->reload($base . service('b', "127.0.0.1:$p"));
	ok($ok, 'service b takes the address over') or diag $text;
	ok(works(client($p)), 'and serves');
	my $log = $sy->log_text;
	unlike($log, qr/no longer listening: 127\.0\.0\.1:$p /, 'its sockets were never closed');
	close $conn;
	$sy->reload($base);
};

sub slurp { open my $in, '<', $_[0] or return ''; local $/; return <$in> // '' }

subtest 'more workers, and fewer' => sub {
	my @conns = map { client() } 1 .. 16;
	ok(works($_), 'a connection before') for $conns[0], $conns[15];
	my ($ok, $text) = $sy->reload("workers 5;\n$base");
	ok($ok, 'five') or diag $text;
	$sy->wait_log(qr/master: worker $_ is ready/) for 2 .. 4;
	my $good = grep { works($_) } map { client() } 1 .. 60;
	is($good, 60, 'sixty connections, spread over five');
	ok(works($_), 'one of before') for $conns[0], $conns[15];
	my @new = map { client() } 1 .. 16;
	works($_) for @new;
	($ok, $text) = $sy->reload("workers 1;\n$base");
	ok($ok, 'one') or diag $text;
	$good = grep { works($_) } map { client() } 1 .. 60;
	is($good, 60, 'sixty connections to the one');
	$good = grep { works($_) } @conns, @new;
	is($good, 32, 'connections of workers that are surplus live on');
	close $_ for @conns, @new;
	close $held;
	Steelyard::wait_for('surplus workers to leave', sub {
		1 == grep { $_->{role} eq 'worker' && $_->{pid} } @{ $sy->processes };
	});
	pass('they leave when their last connection has ended');
	($ok, $text) = $sy->reload($base);
	ok($ok, 'two again') or diag $text;
	$good = grep { works($_) } map { client() } 1 .. 60;
	is($good, 60, 'sixty more');
	is(join("\n", grep { / err master: worker/ } split /\n/, $sy->log_text), '', 'none of them died');
};

subtest 'rights that were given up' => sub {
	plan skip_all => 'without root there are none to give up' if $> != 0;
	my $own = Steelyard->start($base);
	my $p = $own->port('web');
	my $rights = sub { slurp("/proc/$_[0]/status") =~ /^CapEff:\s*([0-9a-f]+)/m ? hex $1 : undef };
	my $conn = client($p);
	ok(works($conn), 'a connection');
	my @old = map { $own->pid_of('worker', $_) } 0, 1;
	my $checker = $own->pid_of('checker');
	is($rights->($_), 0, 'nothing is kept that is not needed') for @old, $checker;
	(my $conf = $base) =~ s/monitor tcp/snat off; monitor icmp { interval 1s; } monitor tcp/;
	my ($ok, $text) = $own->reload($conf);
	ok($ok, 'a reload that needs the right to send ICMP, and to use addresses of others') or diag $text;
	$own->wait_log(qr/takes over from worker $_/) for 0, 1;
	my @new = Steelyard::wait_for('new workers', sub {
		my @all = map { $_->{pid} } grep { $_->{role} eq 'worker' && $_->{pid} } @{ $own->processes };
		my @fresh = grep { my $pid = $_; !grep { $_ == $pid } @old } @all;
		@fresh == 2 && \@fresh;
	});
	# A new process is there a moment before it gives up what it does not need.
	my $settles = sub {
		my ($wanted, $pid) = @_;
		return eval { Steelyard::wait_for('rights', sub { ($rights->($pid->()) // -1) == $wanted }); 1 };
	};
	for my $pid (@{ $new[0] }) {
		ok($settles->(1 << 13 | 1 << 10, sub { $pid }), 'new workers have it');
	}
	Steelyard::wait_for('another checker', sub { my $pid = $own->pid_of('checker'); $pid && $pid != $checker });
	ok($settles->(1 << 13, sub { $own->pid_of('checker') // 0 }), 'a new checker has it');
	ok(works($conn), 'the connection lives on in its old worker');
	close $conn;
	Steelyard::wait_for('the old workers to leave', sub { !grep { kill 0, $_ } @old });
	pass('which leaves with it');
	($ok, $text) = $own->reload($base);
	ok($ok, 'back to where it began') or diag $text;
	is(scalar(grep { works(client($p)) } 1 .. 20), 20, 'and all is well');
	unlike($own->log_text, qr/err master/, 'nobody died');
	is($own->stop, 0, 'it ends well');
};

subtest 'log, pid file and control socket move' => sub {
	my $log = "$sy->{dir}/other.log";
	my ($ok, $text) = $sy->reload("log file $log;\npid-file $sy->{dir}/pid;\n$base");
	ok($ok, 'a log file and a pid file') or diag $text;
	ok(works(client()), 'serves');
	Steelyard::wait_for('lines in the new log', sub { -s $log });
	open my $in, '<', "$sy->{dir}/pid" or die;
	is(<$in> + 0, $sy->{pid}, 'the pid file');
	my $old = $sy->{control};
	$sy->{control} = "$sy->{dir}/control2";
	$sy->write_conf($base);
	kill 'HUP', $sy->{pid};
	Steelyard::wait_for('the new control socket', sub { -S $sy->{control} });
	Steelyard::wait_for('the old one to go', sub { !-e $old });
	Steelyard::wait_for('the pid file to go', sub { !-e "$sy->{dir}/pid" });
	is((stat $sy->{control})[2] & 07777, 0660, 'mode of the new one');
	ok(works(client()), 'serves');
	is($sy->port('web'), $port, 'after all of this, still the first port');
	($ok, $text) = $sy->reload("log file /nonexistent/folder/log;\n$base");
	ok(!$ok, 'a log that cannot be opened is refused');
	like($text, qr{/nonexistent/folder/log}, 'and named');
};

subtest 'a module that was replaced on disk' => sub {
	my $mine = "$sy->{dir}/modules";
	system('cp', '-r', Steelyard::modules(), $mine) == 0 or die;
	system('chmod', '-R', 'go-w', $mine);
	my $own = Steelyard->start($base, modules => $mine);
	my $p = $own->port('web');
	my $conn = client($p);
	ok(works($conn), 'a connection');
	my $so = "$mine/protocol/tcp.so";
	# In place, as a careless installation does it: a mapping of the file would be hurt.
	open my $out, '+<', $so or die "$so: $!";
	print $out "\0" x -s $so;
	close $out;
	ok(works($conn) && works(client($p)), 'overwritten in place: nobody notices');
	my ($ok, $text) = $own->reload;
	ok(!$ok, 'a reload refuses it');
	like($text, qr/protocol tcp|tcp\.so/, 'by name');
	ok(works($conn) && works(client($p)), 'and nothing has changed');
	unlink $so;
	File::Copy::copy(Steelyard::modules() . '/protocol/tcp.so', $so) or die;
	chmod 0644, $so;
	($ok, $text) = $own->reload;
	ok($ok, 'a good one is taken') or diag $text;
	ok(works($conn) && works(client($p)), 'and works');
	unlike($own->log_text, qr/killed by/, 'nobody died');
};

# Between two exchanges a connection is of the newest configuration; a pinned one stays with its server.
subtest 'a connection that stays, and exchanges that are new' => sub {
	my ($one, $two) = map {
		my $name = $_;
		Steelyard->server($name, each => sub {
			my $sock = shift;
			my $got = '';
			while (sysread $sock, $got, 4096, length $got) {
				while ($got =~ s/^(.*?)\r\n\r\n//s) {
					my $auth = $1 =~ /^Authorization:/mi;
					syswrite $sock, ($auth ? "HTTP/1.1 401 X\r\nWWW-Authenticate: NTLM abc\r\n" : "HTTP/1.1 200 OK\r\n") . "X-At: $name\r\nContent-Length: 0\r\n\r\n";
				}
			}
		});
	} qw(h1 h2);
	my $conf = sub {
		my ($servers, $rule) = @_;
		return 'pool p { ' . join(' ', map { "server $_->[0] 127.0.0.1:" . $_->[1]->port . ';' } @$servers) . " }\n"
			. "virtual-service web { listen 127.0.0.1:0; protocol http { $rule } pool p; monitor off; }\n";
	};
	my $http = Steelyard->start($conf->([['h1', $one]], ''));
	my @conns = map { client($http->port('web')) } 1 .. 3;
	my $ask = sub {
		my ($sock, $more) = @_;
		print $sock "GET / HTTP/1.1\r\nHost: x\r\n" . ($more // '') . "\r\n";
		my $got = '';
		while ($got !~ /\r\n\r\n/) { last unless IO::Select->new($sock)->can_read($Steelyard::LIMIT) && sysread $sock, $got, 4096, length $got }
		return $got;
	};
	like($ask->($conns[0]), qr/^X-At: h1\r$/m, 'a request at the only server');
	like($ask->($conns[1], "Authorization: NTLM xyz\r\n"), qr/^X-At: h1\r$/m, 'one that binds its connection');
	my ($ok, $text) = $http->reload($conf->([['h1', $one], ['h2', $two]], 'response-header set X-New yes;'));
	ok($ok, 'another server, and another header') or diag $text;
	$http->ctl('drain', 'h1');
	$http->api('GET', '/v1/connections');
	for (1 .. 2) {
		my $got = $ask->($conns[0]);
		like($got, qr/^X-At: h2\r$/m, 'the next request on the connection goes to the new server');
		like($got, qr/^X-New: yes\r$/m, 'by the new rules');
	}
	like($ask->($conns[2]), qr/^X-At: h2\r$/m, 'so does the first one of a connection that was there');
	like($ask->($conns[1]), qr/^X-At: h1\r$/m, 'a pinned connection stays where it is');
	my ($of) = grep { $_->{server} && $_->{server} =~ /h2/ } @{ $http->api('GET', '/v1/connections')->{connections} };
	ok($of, 'and is shown there') or diag explain $http->api('GET', '/v1/connections');
	close $_ for @conns;
	is($http->stop, 0, 'it ends well');
};

is($sy->stop, 0, 'it ends well');
done_testing;
