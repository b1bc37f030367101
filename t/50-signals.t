#!/usr/bin/env perl
# Start, signals, end: what the master says to the shell, to systemd and to itself; nothing is left
# behind, and a start that fails says so.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM);
use Time::HiRes qw(time);

my $s1 = Steelyard->server('s1');
my $base = 'pool p { server s1 127.0.0.1:' . $s1->port . "; }\n"
	. "virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 1s; } }\n";

sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Timeout => 10) }
sub works {
	my $sock = shift or return 0;
	print $sock "hello\n" or return 0;
	my $line = <$sock> // '';
	return $line =~ /^s1: / ? 1 : 0;
}
sub slurp {
	open my $in, '<', $_[0] or return '';
	local $/;
	return <$in> // '';
}
my $mark = $ENV{STEELYARD_T} = "$$-" . time; # to know our children by
sub pids { return map { $_->{pid} } grep { $_->{pid} && $_->{role} ne 'master' } @{ $_[0]->processes } }
sub gone {
	my @pids = @_;
	return eval { Steelyard::wait_for('children to leave', sub { !grep { kill 0, $_ } @pids }, 10) };
}

subtest "$_ stops now" => sub {
	my $signal = $_;
	my $sy = Steelyard->start("pid-file /tmp/steelyard-t-$$.pid;\n$base");
	my $conn = client($sy->port('web'));
	ok(works($conn), 'a connection');
	my @pids = pids($sy);
	is(scalar @pids, 4, 'four children');
	ok(-S $sy->{control} && -e "/tmp/steelyard-t-$$.pid", 'control socket and pid file');
	my $began = time;
	is($sy->stop($signal), 0, 'exit status 0');
	cmp_ok(time - $began, '<', 30, 'at once, in spite of the connection');
	ok(gone(@pids), 'no child is left');
	ok(!-e $sy->{control} && !-e "/tmp/steelyard-t-$$.pid", 'control socket and pid file are gone');
	is(scalar(<$conn>), undef, 'the connection is closed');
} for qw(TERM INT);

subtest 'QUIT waits for connections' => sub {
	my $sy = Steelyard->start($base);
	my $port = $sy->port('web');
	my $conn = client($port);
	ok(works($conn), 'a connection');
	my @pids = pids($sy);
	kill 'QUIT', $sy->{pid};
	Steelyard::wait_for('the address to refuse', sub { !client($port) });
	pass('new clients are refused');
	ok(works($conn), 'the old one goes on');
	ok($sy->alive, 'the master waits');
	close $conn;
	Steelyard::wait_for('the end', sub { !$sy->alive });
	is($sy->{status}, 0, 'it ends when the last one has gone');
	ok(gone(@pids), 'no child is left');
};

subtest 'QUIT with a limit' => sub {
	my $sy = Steelyard->start("shutdown-timeout 1s;\n$base");
	my $conn = client($sy->port('web'));
	ok(works($conn), 'a connection');
	my $began = time;
	is($sy->stop('QUIT'), 0, 'it ends by itself');
	cmp_ok(time - $began, '>', 0.8, 'not before the limit');
	cmp_ok(time - $began, '<', 30, 'and not long after');
};

subtest 'QUIT, then TERM' => sub {
	my $sy = Steelyard->start($base);
	my $conn = client($sy->port('web'));
	ok(works($conn), 'a connection');
	kill 'QUIT', $sy->{pid};
	$sy->wait_log(qr/SIGQUIT/);
	my $began = time;
	is($sy->stop('TERM'), 0, 'TERM ends the waiting');
	cmp_ok(time - $began, '<', 30, 'at once');
};

subtest 'USR1 opens the log anew' => sub {
	my $sy = Steelyard->start($base);
	my $log = "$sy->{dir}/file.log";
	my ($ok, $text) = $sy->reload("log file $log level=debug;\n$base");
	ok($ok, 'logs to a file') or diag $text;
	rename $log, "$log.1";
	ok(works(client($sy->port('web'))), 'a line for the old file');
	ok(!-e $log, 'nothing yet');
	kill 'USR1', $sy->{pid};
	Steelyard::wait_for('the new file', sub { -s $log });
	ok(works(client($sy->port('web'))), 'a line for the new file');
	Steelyard::wait_for('a worker to write there', sub {
		open my $in, '<', $log or return 0;
		grep { /worker \d/ } <$in>;
	});
	pass('children write to it, too');
	kill 'USR2', $sy->{pid};
	Steelyard::wait_for('an answer to USR2', sub {
		open my $in, '<', $log or return 0;
		grep { /SIGUSR2/ } <$in>;
	});
	ok(works(client($sy->port('web'))), 'still there');
	is($sy->stop, 0, 'it ends well');
};

subtest 'sd_notify' => sub {
	my $name = "/tmp/steelyard-t-$$.notify";
	unlink $name;
	my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $name) or die "$name: $!";
	my $all = '';
	my $told = sub {
		my $pattern = shift;
		return Steelyard::wait_for("systemd to be told $pattern", sub {
			while (defined $notify->recv(my $words, 4096, 64)) { # MSG_DONTWAIT
				last unless length $words;
				$all .= "$words\n--\n";
			}
			$all =~ $pattern;
		});
	};
	my $sy = Steelyard->start($base, env => { NOTIFY_SOCKET => $name, WATCHDOG_USEC => 10_000_000 });
	ok($told->(qr/^READY=1$/m), 'READY=1');
	ok($told->(qr/^STATUS=generation 1: 1 services/m), 'STATUS');
	ok($told->(qr/^WATCHDOG=1$/m), 'WATCHDOG=1');
	$all = '';
	kill 'HUP', $sy->{pid};
	ok($told->(qr/^RELOADING=1\nMONOTONIC_USEC=\d+$/m), 'RELOADING=1 with the time');
	ok($told->(qr/RELOADING=1.*^READY=1$/ms), 'READY=1 when it is done');
	$all = '';
	$sy->write_conf('nonsense;');
	kill 'HUP', $sy->{pid};
	ok($told->(qr/RELOADING=1.*^READY=1$/ms), 'READY=1 also when it is refused');
	is(scalar(grep { slurp("/proc/$_/environ") =~ /NOTIFY|WATCHDOG/ } pids($sy)), 0,
		'children know nothing of it');
	$sy->stop;
	ok($told->(qr/^STOPPING=1$/m), 'STOPPING=1');
	unlink $name;
};

sub no_child {
	return !grep { slurp("$_/cmdline") =~ /^steelyard: / && slurp("$_/environ") =~ /STEELYARD_T=\Q$mark\E\0/ }
		glob '/proc/[0-9]*';
}

subtest 'a start that fails' => sub {
	my %bad = (
		'a broken configuration' => [ "pool p { serve x; }\n", qr/steelyard\.conf:\d+: .*serve/ ],
		'no virtual service, unknown words' => [ "virtul-service x { }\n", qr/did you mean virtual-service/ ],
		'a log that cannot be opened' => [ "log file /nonexistent/x;\n$base", qr{/nonexistent/x} ],
		'a control socket that cannot be made' =>
			[ "control /nonexistent/folder/x;\n$base", qr{/nonexistent/folder/x}, raw => 1 ],
	);
	for my $name (sort keys %bad) {
		my ($conf, $pattern, %opt) = @{ $bad{$name} };
		my $sy = Steelyard->start($conf, fail => 1, %opt);
		isnt($sy->{status}, 0, "$name: exit status");
		like($sy->log_text, $pattern, "$name: the reason");
		like($sy->log_text, qr/the start failed/, "$name: and the verdict");
		ok(no_child(), "$name: no child is left");
	}
	my $sy = Steelyard->start($base, fail => 1, modules => '/nonexistent');
	isnt($sy->{status}, 0, 'no modules: exit status');
	like($sy->log_text, qr{/nonexistent}, 'no modules: the reason');
	my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
	(my $conf = $base) =~ s/127\.0\.0\.1:0/'127.0.0.1:' . $other->sockport/e;
	$sy = Steelyard->start($conf, fail => 1);
	isnt($sy->{status}, 0, 'an address that is taken: exit status');
	like($sy->log_text, qr/steelyard\.conf:\d+: cannot listen on 127\.0\.0\.1:\d+: another program/,
		'an address that is taken: place and reason');
	ok(!-e $sy->{control}, 'no control socket is left');
};

subtest 'two instances' => sub {
	my $sy = Steelyard->start($base);
	my $port = $sy->port('web');
	my $second = Steelyard->start("control $sy->{control};\n$base", raw => 1, fail => 1);
	isnt($second->{status}, 0, 'the same control socket: exit status');
	like($second->log_text, qr/another instance/, 'and the reason');
	ok(works(client($port)), 'the first is not disturbed');
	is(scalar @{ $sy->processes }, scalar @{ $sy->processes }, 'its console answers');
	(my $conf = $base) =~ s/127\.0\.0\.1:0/127.0.0.1:$port/;
	my $third = Steelyard->start($conf, fail => 1);
	isnt($third->{status}, 0, 'the same address, which SO_REUSEPORT would share: exit status');
	like($third->log_text, qr/another program \(or another instance/, 'and the reason');
	is(scalar(grep { works(client($port)) } 1 .. 20), 20, 'no client went astray');
	kill 'KILL', $sy->{pid};
	waitpid $sy->{pid}, 0;
	$sy->{status} = 9;
	ok(-S $sy->{control}, 'a killed master leaves its socket');
	my $fourth = Steelyard->start("control $sy->{control};\nworkers 2;\n$conf", raw => 1);
	ok(works(client($port)), 'a successor takes socket and address at once');
};

done_testing;
