#!/usr/bin/env perl
# SIGUSR2: the program is replaced in place. Same pid, same addresses, no exchange fails, connections
# live on in the processes of before; a program that is no good changes nothing.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use File::Copy ();
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_DGRAM);
use Time::HiRes ();

my $bin = File::Temp::tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $bin;
my $program = "$bin/steelyardd";
my $good = Steelyard::steelyardd();
{ no warnings 'redefine'; *Steelyard::steelyardd = sub { $program }; }
# As a package manager does it: a new file under the old name.
sub install {
	my $from = shift;
	File::Copy::copy($from, "$program.new") or die "$from: $!";
	chmod 0755, "$program.new";
	rename "$program.new", $program or die $!;
}
install($good);

my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
my $base = 'pool p { server s1 127.0.0.1:' . $s1->port . '; server s2 127.0.0.1:' . $s2->port . "; }\n"
	. "virtual-service web { listen 127.0.0.1:0; pool p; persistence source { timeout 10m; }\n"
	. "monitor tcp { interval 200ms; rise 1; fall 1; } }\n";
my $name = "$bin/notify";
my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $name) or die "$name: $!";
my $told = '';
sub told {
	my $pattern = shift;
	return Steelyard::wait_for("systemd to be told $pattern", sub {
		while (defined $notify->recv(my $words, 4096, 64)) { # MSG_DONTWAIT
			last unless length $words;
			$told .= "$words\n--\n";
		}
		$told =~ $pattern;
	});
}
my $sy = Steelyard->start("pid-file $bin/pid;\n$base", env => { NOTIFY_SOCKET => $name });
my $port = $sy->port('web');
$sy->wait_up('web', $_) for qw(s1 s2);

sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10) }
sub works {
	my $sock = shift or return 0;
	local $SIG{PIPE} = 'IGNORE';
	print $sock "hello\n" or return 0;
	IO::Select->new($sock)->can_read(20) or return 0;
	return (<$sock> // '') =~ /^s\d: / ? 1 : 0;
}
sub crowd {
	pipe my $stop_read, my $stop or die;
	pipe my $result, my $result_write or die;
	my $pid = fork // die;
	if (!$pid) {
		close $stop;
		my ($good, $bad) = (0, 0);
		my $select = IO::Select->new($stop_read);
		while (!$select->can_read(0)) { works(client()) ? $good++ : $bad++ }
		syswrite $result_write, "$good $bad\n";
		POSIX::_exit(0);
	}
	close $stop_read;
	close $result_write;
	return sub {
		close $stop;
		my ($good, $bad) = split ' ', <$result> // '0 0';
		waitpid $pid, 0;
		return ($good, $bad);
	};
}
sub workers { return map { $_->{pid} } grep { $_->{role} eq 'worker' && $_->{pid} } @{ $sy->processes } }
sub inode { return (stat "/proc/$_[0]/exe")[1] // 0 }
sub web { my ($found) = grep { $_->{name} eq 'web' } @{ $sy->api('GET', '/v1/services')->{services} }; return $found }
# USR2, until the n-th takeover is through.
my $upgrades = 0;
sub upgrade {
	$upgrades++;
	kill 'USR2', $sy->{pid};
	Steelyard::wait_for("takeover $upgrades", sub { $upgrades == (() = $sy->log_text =~ /has taken over \d+ processes/g) });
	Steelyard::wait_for('new workers', sub { 2 * $upgrades <= (() = $sy->log_text =~ /takes over from worker/g) });
	Steelyard::wait_for('a new checker and console', sub {
		my $now = inode($sy->{pid});
		my @pids = eval { map { $sy->pid_of($_) } qw(checker console) };
		@pids == 2 && !grep { inode($_) != $now } @pids;
	});
}

# Users of the control socket who connect, and ask a moment later: those that had no answer, when all have asked.
sub askers {
	pipe my $from, my $to or die;
	my $pid = fork // die;
	if (!$pid) {
		my ($stop, @asked, @waits) = (0);
		local $SIG{TERM} = sub { $stop = 1 };
		my $ask = sub {
			my $sock = shift @waits;
			print $sock "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" if $sock;
			push @asked, $sock;
		};
		for (1 .. 800) {
			last if $stop;
			push @waits, scalar IO::Socket::UNIX->new(Peer => $sy->{control});
			$ask->() if @waits > 3;
			Time::HiRes::sleep(0.02);
		}
		$ask->() while @waits;
		my $bad = grep { !$_ || (readline($_) // '') !~ m{^HTTP/1\.1 200} } @asked;
		syswrite $to, @asked . " $bad\n";
		POSIX::_exit(0);
	}
	close $to;
	return sub { kill 'TERM', $pid; my $said = readline $from; waitpid $pid, 0; return split ' ', $said // '0 all' };
}

for my $round (1, 2) {
	subtest "upgrade $round, under load" => sub {
		my @held = map { client() } 1 .. 16;
		is(scalar(grep { works($_) } @held), 16, 'connections that will be held');
		$sy->ctl('drain', 's2');
		my @old = workers();
		my ($checker, $console) = ($sy->pid_of('checker'), $sy->pid_of('console'));
		my $total = web()->{total};
		my $before = inode($sy->{pid});
		install($good);
		my ($asked, $stop) = (askers(), crowd());
		upgrade();
		my ($new, $bad) = $stop->();
		is($bad, 0, "$new new connections meanwhile, none failed");
		my ($questions, $unheard) = $asked->();
		ok($questions && $unheard eq '0', "$questions questions at the control socket, $unheard without an answer");
		ok($sy->alive, 'the master has the same pid');
		isnt(inode($sy->{pid}), $before, 'and another program');
		is((stat $program)[1], inode($sy->{pid}), 'which is the installed one');
		my @fresh = grep { my $pid = $_; !grep { $_ == $pid } @old } workers();
		is(scalar(grep { inode($_) == inode($sy->{pid}) } @fresh), 2, 'two workers with it');
		isnt($sy->pid_of('checker'), $checker, 'another checker');
		isnt($sy->pid_of('console'), $console, 'another console');
		is(scalar(grep { works($_) } @held), 16, 'the connections live on');
		is($sy->port('web'), $port, 'the same address');
		is($sy->seat('web', 's2')->{state}, 'drain', 'what the operator wished for is remembered');
		my ($s1_state) = $sy->seat('web', 's1')->{state};
		is($s1_state, 'up', 'health is, too');
		cmp_ok(web()->{total}, '>=', $total + $new, 'and so are the counters');
		is(scalar(grep { kill 0, $_ } @old), 2, 'the old workers are still there');
		close $_ for @held;
		Steelyard::wait_for('the old workers to leave', sub { !grep { kill 0, $_ } @old });
		pass('they leave with their last connection');
		$sy->ctl('enable', 's2');
		$told = '';
		my ($ok, $text) = $sy->reload;
		ok($ok, 'a reload') or diag $text;
		ok(told(qr/RELOADING=1.*^READY=1$/ms), 'systemd hears of it');
		kill 'KILL', $fresh[0];
		Steelyard::wait_for('its successor', sub { my @all = workers(); @all == 2 && !grep { $_ == $fresh[0] } @all });
		is(scalar(grep { works(client()) } 1 .. 20), 20, 'a worker was killed and replaced');
		unlike($sy->log_text, qr/(?:checker|console).*ended: killed/, 'nobody else died');
	};
}

subtest 'a program that is no good' => sub {
	my @all = workers();
	my $before = inode($sy->{pid});
	my %bad = (
		'no program at all' => [ "\0\1\2", qr/upgrade: .*Exec format error; nothing has changed/ ],
		'one that says no' => [ "#!/bin/sh\nexit 3\n", qr/cannot take over \(exit status 3\); nothing has changed/ ],
		'one that crashes' => [ "#!/bin/sh\nkill -SEGV \$\$\n", qr/cannot take over \(signal 11\); nothing has changed/ ],
	);
	for my $kind (sort keys %bad) {
		open my $out, '>', "$bin/bad" or die;
		print $out $bad{$kind}[0];
		close $out;
		install("$bin/bad");
		kill 'USR2', $sy->{pid};
		ok($sy->wait_log($bad{$kind}[1]), "$kind: refused");
	}
	unlink $program;
	kill 'USR2', $sy->{pid};
	ok($sy->wait_log(qr/upgrade: .*No such file or directory; nothing has changed/), 'one that is not there: refused');
	is(inode($sy->{pid}), $before, 'the same program');
	is(join(' ', workers()), "@all", 'the same workers');
	is(scalar(grep { works(client()) } 1 .. 20), 20, 'which work');
	install($good);
};

subtest 'an upgrade with a broken configuration' => sub {
	my $conn = client();
	ok(works($conn), 'a connection');
	my @old = workers();
	$sy->write_conf("nonsense;\n");
	$upgrades++;
	kill 'USR2', $sy->{pid};
	$sy->wait_log(qr/has taken over.*\n(?:.*\n)*.*unknown directive nonsense.*\n(?:.*\n)*.*reload refused/);
	is(join(' ', workers()), "@old", 'the children of before go on');
	ok(works($conn), 'with what they have');
	is(scalar(grep { works(client()) } 1 .. 20), 20, 'and what comes');
	my ($ok, $text) = $sy->reload("pid-file $bin/pid;\n$base");
	ok($ok, 'repaired: the reload is accepted') || diag $text;
	Steelyard::wait_for('new workers', sub { 2 * $upgrades <= (() = $sy->log_text =~ /takes over from worker/g) });
	pass('and brings new workers');
	close $conn;
	Steelyard::wait_for('the old workers to leave', sub { !grep { kill 0, $_ } @old });
	is(scalar(grep { works(client()) } 1 .. 20), 20, 'all is well');
};

my @last = map { $_->{pid} } grep { $_->{pid} } @{ $sy->processes };
is($sy->stop, 0, 'it ends well');
Steelyard::wait_for('children to leave', sub { !grep { kill 0, $_ } @last });
ok(!-e $sy->{control} && !-e "$bin/pid", 'control socket and pid file are gone');
done_testing;
