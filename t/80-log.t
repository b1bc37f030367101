#!/usr/bin/env perl
# The log when things go wrong: a full disk, lines that are lost and told, rotation, a log that blocks,
# and JSON that is JSON whatever a line holds.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Crowd qw(wait_for);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Time::HiRes qw(time);

my $server = Crowd::Server->new('s1');
my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir;
my $services = <<CONF;
pool p { server s1 127.0.0.1:@{[ $server->port ]}; }
virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 10s; } }
virtual-service proxied { listen 127.0.0.1:0; pool p; accept-proxy-from 127.0.0.0/8; }
CONF

sub client { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Timeout => 10) }
# One connection with one exchange; 1 if it went well.
sub visit {
	my ($port) = @_;
	my $sock = client($port) or return 0;
	print $sock "hello\n";
	my $line = <$sock> // '';
	return $line eq "s1: hello\n";
}
sub slurp {
	open my $in, '<', $_[0] or return '';
	local $/;
	return <$in> // '';
}
# Whole ones: what a full disk tore is none.
sub lines { my @all = slurp($_[0]) =~ /id=(\w+) service=web\b.* end=client-done\n/g; return scalar @all }
sub spit { my ($file, $bytes) = @_; open my $out, '>', $file or die; my $n = syswrite $out, $bytes; return $n }
sub quiet { my $sy = shift; wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 }) }

SKIP: {
	my $disk = "$dir/disk";
	mkdir $disk;
	skip 'needs the right to mount a small disk', 1 if system("mount -t tmpfs -o size=128k,mode=0755 none $disk 2>/dev/null") != 0;
	my $log = "$disk/log";
	subtest 'a full disk' => sub {
		my $sy = Steelyard->start("log stderr;\n$services");
		$sy->wait_up('web', 's1');
		my $port = $sy->port('web');
		my ($ok, $text) = $sy->reload("log file $log;\n$services");
		ok($ok, 'the log goes to a small disk') or diag $text;
		my $good = grep { visit($port) } 1 .. 50;
		is($good, 50, 'fifty exchanges');
		quiet($sy);
		is(wait_for('fifty lines', sub { lines($log) == 50 && 50 }), 50, 'fifty lines');
		# Of a page that the log has begun it may have the rest.
		my $ballast = "$disk/ballast";
		open my $out, '>', $ballast;
		1 while syswrite($out, 'x' x 4096);
		close $out;
		$good = grep { visit($port) } 1 .. 400;
		is($good, 400, 'four hundred exchanges while the disk is full');
		quiet($sy);
		my $there = lines($log);
		cmp_ok($there, '<', 300, "$there of 450 lines could be written");
		my ($answer, $status) = $sy->api('GET', '/v1/status');
		is($status, 200, 'the API answers');
		($ok, $text) = $sy->reload("log file $log;\n$services# changed\n");
		ok($ok, 'a reload goes well') or diag $text;
		unlink $ballast;
		# Each process tells what it lost with its next line.
		$good = grep { visit($port) } 1 .. 60;
		is($good, 60, 'sixty more when there is space again');
		quiet($sy);
		my $lost = 0;
		wait_for('every worker to tell', sub {
			my $now = slurp($log);
			$lost = 0;
			$lost += $1 while $now =~ /worker \d+: (\d+) log lines? (?:was|were) lost \(No space left on device\)/g;
			lines($log) + $lost >= 510;
		});
		# One that was torn just before its end is there, and was told, too; one for each worker.
		my $sum = $lost + lines($log);
		ok($sum >= 510 && $sum <= 512, "lines that are there and lines told as lost ($lost) are all: $sum of 510");
		like(slurp($log), qr/warn worker \d+: \d+ log lines were lost/, 'as a warning');
		is($sy->stop, 0, 'it ends well');
	};
	# It may still be in use by a test that died.
	END { system("umount -l $dir/disk 2>/dev/null") if $dir && -d "$dir/disk" }
}

subtest 'a device that takes nothing' => sub {
	plan skip_all => 'no /dev/full here' unless -c '/dev/full';
	my $sy = Steelyard->start("log stderr;\n$services");
	$sy->wait_up('web', 's1');
	my ($ok, $text) = $sy->reload("log file /dev/full;\n$services");
	ok($ok, 'the log goes to /dev/full') or diag $text;
	my $port = $sy->port('web');
	is(scalar(grep { visit($port) } 1 .. 100), 100, 'a hundred exchanges');
	my $log = "$dir/after";
	($ok, $text) = $sy->reload("log file $log;\n$services");
	ok($ok, 'and then to a file') or diag $text;
	is(scalar(grep { visit($port) } 1 .. 20), 20, 'twenty more');
	quiet($sy);
	my $told = wait_for('the lost ones to be told', sub {
		my ($n, $now) = (0, slurp($log));
		$n += $1 while $now =~ /worker \d+: (\d+) log lines? (?:was|were) lost/g;
		$n >= 100 && $n;
	});
	is($told, 100, 'a hundred lines are told as lost');
	is($sy->stop, 0, 'it ends well');
};

subtest 'a log file that cannot be opened' => sub {
	my $sy = Steelyard->start("log stderr;\n$services");
	$sy->wait_up('web', 's1');
	my $port = $sy->port('web');
	my ($ok, $text) = $sy->reload("log file $dir/no/such/folder/log;\n$services");
	ok(!$ok, 'the reload is refused');
	like($text, qr{no/such/folder/log.*No such file}, 'with path and reason');
	ok(visit($port), 'it serves as before');
	ok(scalar $sy->wait_log(qr/(connection client closed first)/), 'and logs as before');
	($ok, $text) = $sy->reload("log file $dir;\n$services");
	ok(!$ok, 'a folder is none');
	like($text, qr/Is a directory/, 'in words');
	$sy->stop;
	my $bad = Steelyard->start("log file $dir/no/such/log;\n$services", fail => 1);
	isnt($bad->{status}, 0, 'a first start with it fails');
	like($bad->log_text, qr{no/such/log}, 'in words');
};

subtest 'rotation' => sub {
	my $log = "$dir/rotate";
	my $sy = Steelyard->start("log stderr;\n$services");
	$sy->wait_up('web', 's1');
	my $port = $sy->port('web');
	my ($ok, $text) = $sy->reload("log file $log;\n$services");
	ok($ok, 'a log file') or diag $text;
	my $all = 0;
	for my $n (1 .. 5) {
		$all += grep { visit($port) } 1 .. 40;
		quiet($sy);
		rename $log, "$log.$n";
		# Between the two, lines go to the old file.
		$all += grep { visit($port) } 1 .. 10;
		kill 'USR1', $sy->{pid};
		wait_for('a new file', sub { -s $log });
	}
	quiet($sy);
	wait_for('all lines', sub { my $n = 0; $n += lines($_) for $log, map { "$log.$_" } 1 .. 5; $n >= $all });
	my $n = 0;
	$n += lines($_) for $log, map { "$log.$_" } 1 .. 5;
	is($n, $all, "$all connections, $n lines in six files: none lost, none twice");
	cmp_ok(lines("$log.5"), '>', 0, 'the last file before has its own');
	# All processes have let go of the old ones.
	my @holders;
	for my $pid ($sy->{pid}, map { $_->{pid} } grep { $_->{pid} } @{ $sy->processes }) {
		push @holders, map { "$pid: $_" } grep { /rotate\.[1-5]/ } map { readlink($_) // () } glob "/proc/$pid/fd/*";
	}
	is_deeply(\@holders, [], 'nobody holds an old file');
	unlink $log;
	mkdir $log;
	kill 'USR1', $sy->{pid};
	wait_for('the complaint', sub { slurp("$log.5") . $sy->log_text =~ /cannot open the log/ });
	ok(visit($port), 'a file that cannot be opened at rotation: service goes on');
	rmdir $log;
	kill 'USR1', $sy->{pid};
	wait_for('the file again', sub { visit($port) && -s $log });
	pass('and the log comes back');
	is($sy->stop, 0, 'it ends well');
};

subtest 'a log that nobody reads' => sub {
	pipe my $read, my $write or die;
	my $sy = Steelyard->start("log stderr;\n$services");
	$sy->wait_up('web', 's1');
	my $port = $sy->port('web');
	my $fifo = "$dir/fifo";
	POSIX::mkfifo($fifo, 0600) or die $!;
	# Somebody has it open and does not read.
	open my $reader, '+<', $fifo or die $!;
	my ($ok, $text) = $sy->reload("log file $fifo;\n$services");
	ok($ok, 'the log goes to a pipe that nobody reads') or diag $text;
	my $start = time;
	my $good = grep { visit($port) } 1 .. 600;
	is($good, 600, sprintf 'six hundred exchanges (%.1f s): nothing blocks', time - $start);
	is(scalar @{ [ grep { $_->{pid} } @{ $sy->processes } ] }, scalar @{ $sy->processes }, 'everybody lives');
	is($sy->stop, 0, 'it ends well');
};

subtest 'a fifo without a reader does not stop the master' => sub {
	my $sy = Steelyard->start("log stderr;\n$services");
	$sy->wait_up('web', 's1');
	my $port = $sy->port('web');
	my $fifo = "$dir/fifo2";
	POSIX::mkfifo($fifo, 0600) or die $!;
	$sy->write_conf("log file $fifo;\n$services");
	kill 'HUP', $sy->{pid};
	my $alive = eval { $sy->wait_log(qr/fifo2.*nobody reads/, 15); 1 };
	ok($alive, 'the master refuses, in words');
	ok(visit($port), 'service goes on');
	$sy->write_conf($services);
	my ($ok, $text) = $sy->reload;
	ok($ok, 'the master is alive') or diag $text;
	is($sy->stop, 0, 'it ends well');
};

subtest 'JSON' => sub {
	my $log = "$dir/json";
	my $sy = Steelyard->start("log stderr;\n$services");
	$sy->wait_up('web', 's1');
	my ($ok, $text) = $sy->reload("log file $log level=debug format=json;\n$services");
	ok($ok, 'a log of JSON lines') or diag $text;
	my ($port, $proxied) = ($sy->port('web'), $sy->port('proxied'));
	visit($port) for 1 .. 20;
	for my $bytes ("PROXY \"}\n\x00\x01\\\r\n", "\xff\xfe{\"a\":\"b\"}\r\n", "PROXY TCP4 \"\\ 1 2 3\r\n") {
		my $sock = client($proxied);
		print $sock $bytes;
		sysread $sock, my $end, 1;
	}
	$sy->reload("log file $log level=debug format=json;\npool \"\\\"q\\\\\x01\" { }\nvirtual-service \"x\xff\" { }\n$services");
	$sy->reload("log file $log level=debug format=json;\n$services# good\n");
	kill 9, $sy->pid_of('worker', 0);
	wait_for('the death in the log', sub { slurp($log) =~ /killed by signal 9/ });
	visit($port) for 1 .. 5;
	$server->kill;
	$sy->wait_down('web', 's1');
	is($sy->stop, 0, 'it ends well');
	my ($bad, $n, %seen) = (0, 0);
	for my $line (split /\n/, slurp($log)) {
		my $data = eval { JSON::PP->new->utf8->decode($line) };
		$n++;
		$bad++, diag "not JSON: $line: $@" unless ref $data eq 'HASH';
		$bad++, diag "without time, level, who: $line"
			unless $data && $data->{time} =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ && $data->{level} =~ /^(err|warn|info|debug)$/
			&& defined $data->{who} && (defined $data->{message} || defined $data->{event});
		$seen{ $data->{event} // '' }++ if $data;
		$seen{proxy}++ if $data && ($data->{end} // '') eq 'proxy-header';
	}
	is($bad, 0, "$n lines, each an object with time, level, who and what");
	cmp_ok($seen{connection}, '>=', 25, 'connections among them');
	is($seen{proxy}, 3, 'and hostile ones');
};

done_testing;
