#!/usr/bin/env perl
# The flight recorder: what was said and what has ended is there after a SIGKILL, is written to a file
# when a process dies or a server changes state, and files are bounded in number and size.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(dial say hear hear_all);
use File::Temp qw(tempdir);

my $dir = tempdir('steelyard-recorder-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0777, $dir;
my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
my $conf = sub {
	my %is = (recorder => "recorder { directory $dir; files 3; size 64k; fold 0; }", log => 'warn', @_);
	return <<"CONF";
workers 2;
log stderr level=$is{log};
$is{recorder}
tables { recorder-entries 256; }
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool gone { server gone 127.0.0.1:1; }
virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 100ms; rise 1; fall 1; } }
virtual-service gone { listen 127.0.0.1:0; pool gone; monitor off; }
CONF
};
my $sy = Steelyard->start($conf->(log => 'info'));
$sy->wait_up('web', $_) for qw(s1 s2);
my ($web, $gone) = ($sy->port('web'), $sy->port('gone'));

sub visit { my $sock = dial($web); say($sock, "hello\n"); my $got = hear($sock, qr/\n/); close $sock; return $got }
sub ended { my $query = join '&', @_; return @{ $sy->api('GET', '/v1/connections/ended' . ($query ? "?$query" : ''))->{connections} } }
sub records { return @{ $sy->api('GET', '/v1/recorder?limit=100000')->{records} } }
sub files { opendir my $in, $dir or die $!; my @all = sort grep { /^recorder-.*\.json$/ } readdir $in; return @all }
# The newest file that the code likes: its lines, decoded.
sub file_that {
	my ($what, $code) = @_;
	my @lines;
	Steelyard::wait_for($what, sub {
		for my $file (reverse files()) {
			open my $in, '<', "$dir/$file" or next;
			@lines = map { JSON::PP::decode_json($_) } <$in>;
			return 1 if $code->(@lines);
		}
		return 0;
	});
	return @lines;
}

subtest 'what has ended' => sub {
	visit() for 1 .. 5;
	my $refused = dial($gone);
	hear_all($refused);
	Steelyard::wait_for('six ends', sub { ended() == 6 });
	my ($failed) = ended('service=gone');
	is("$failed->{what} $failed->{end} $failed->{server}", 'connection connect-refused gone', 'a failure');
	like($failed->{words}, qr/refused/, 'in words');
	like($failed->{error} // '', qr/refused/i, 'and what the system said');
	is(scalar ended('end=client-done'), 5, 'by reason');
	is(scalar(ended('server=s1')) + ended('server=s2'), 5, 'by server');
	is(scalar ended('client=127.0.0.0/8'), 6, 'by network');
	is(scalar ended('client=192.0.2.1'), 0, 'of which nobody came');
	is(scalar ended('limit=2'), 2, 'a limit');
	my @times = map { $_->{time} } ended();
	is_deeply(\@times, [sort { $b <=> $a } @times], 'the newest first');
	my ($error, $status) = $sy->api('GET', '/v1/connections/ended?client=me');
	is($status, 400, 'a client that is none');
	like(scalar $sy->ctl('connections', '--ended', '--service', 'gone'), qr/connection \w+: service=gone client=127\.0\.0\.1:\d+ .*end=connect-refused/, 'steelyardctl connections --ended');
	like((ended('service=web'))[0]{why}, qr/^scheduler$/, 'why the server');
};

subtest 'a rush does not push out a failure, and nothing grows' => sub {
	visit() for 1 .. 700;
	Steelyard::wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
	my @all = ended('limit=100000');
	ok(@all <= 2 * (256 + 64), scalar(@all) . ' are kept');
	is(scalar(grep { $_->{end} eq 'connect-refused' } @all), 1, 'the failure is among them');
};

subtest 'a worker is killed' => sub {
	my ($ok, $text) = $sy->reload($conf->()); # the log holds no more than warnings
	ok($ok, 'a log of warnings only') or diag $text;
	my @before = grep { $_->{process} =~ /worker/ && $_->{what} ne 'line' } records();
	my @pids = map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
	kill 'KILL', $pids[0];
	my @lines = file_that('a file of the death', sub { grep { ($_->{words} // '') =~ /\(pid $pids[0]\) ended: killed by signal 9/ } @_ });
	is($lines[0]{what}, 'recorder', 'its first line says what it is');
	like($lines[0]{words}, qr/a process has died/, 'and why');
	ok(scalar(grep { $_->{what} eq 'connection' && $_->{pid} == $pids[0] && $_->{end} eq 'client-done' } @lines) > 50, 'what the dead worker had carried is in it');
	ok(scalar(grep { $_->{what} eq 'line' && $_->{process} eq 'master' && $_->{level} eq 'info' } @lines), 'lines that the log did not want, too');
	my @times = map { $_->{time} } @lines[1 .. $#lines];
	is_deeply(\@times, [sort { $a <=> $b } @times], 'in the order of time');
	Steelyard::wait_for('a new worker', sub { my @now = grep { $_->{role} eq 'worker' && $_->{ready} } @{ $sy->processes }; @now == 2 && !grep { $_->{pid} == $pids[0] } @now });
	my @after = grep { $_->{process} =~ /worker/ && $_->{what} ne 'line' } records();
	is(scalar @after, scalar @before, 'and it is all still in memory');
	visit() for 1 .. 20;
	Steelyard::wait_for('its successor to go on', sub { grep { $_->{pid} != $pids[0] && $_->{pid} != $pids[1] && $_->{what} eq 'connection' } records() });
	pass('its successor goes on where it was');
	my ($newest) = reverse files();
	like(scalar $sy->ctl('recorder', "$dir/$newest"), qr/^written at \S+ \S+: a process has died.*^\S+ \S+ master: err worker \d .*killed by signal 9.*/ms, 'steelyardctl recorder FILE');
	like(scalar $sy->ctl('recorder', '--limit', '300'), qr/^\S+ \S+ worker \d: connection \w+: service=web/m, 'steelyardctl recorder');
};

subtest 'the console is killed' => sub {
	my $pid = $sy->pid_of('console');
	kill 'KILL', $pid;
	my @lines = file_that('a file of its death', sub { grep { ($_->{words} // '') =~ /console \(pid $pid\) ended/ } @_ });
	ok(scalar @lines, 'its successor writes down what it had not');
};

subtest 'a server goes down' => sub {
	my $conn = dial($web);
	say($conn, "hello\n");
	my ($server) = hear($conn, qr/\n/) =~ /^(s\d):/;
	my $there = $server eq 's1' ? $s1 : $s2;
	my $port = $there->port;
	$there->kill;
	my @lines = file_that('a file of it', sub { ($_[0]{words} // '') =~ /^server $server \(pool p, service web\): down/ });
	ok(scalar(grep { $_->{what} eq 'connection' && ($_->{server} // '') eq $server && $_->{end} =~ /^server-/ } @lines), 'the connection that ended with it is in the file');
	my $again = Steelyard->server($server, port => $port);
	file_that('a file of its return', sub { ($_[0]{words} // '') =~ /^server $server \(pool p, service web\): up/ });
	pass('and one when it is back');
	$sy->ctl('drain', 's1');
	$sy->ctl('enable', 's1');
	cmp_ok(scalar(files()), '<=', 3, 'no more than three files');
	for my $file (files()) {
		my @stat = stat "$dir/$file" or next; # it went meanwhile
		cmp_ok($stat[7], '<=', 65536, "$file has at most 64k");
		is($stat[2] & 0777, 0640, 'not for everybody');
	}
	$again->kill;
};

subtest 'a folder that cannot be written to' => sub {
	my $other = "$dir/none";
	my ($ok, $text) = $sy->reload($conf->(recorder => "recorder { directory $other; fold 0; }"));
	ok($ok, 'it need not be there') or diag $text;
	like(`@{[ Steelyard::steelyardd() ]} -t -m @{[ Steelyard::modules() ]} -c $sy->{file} 2>&1`, qr{warning: recorder: nothing can be written to \Q$other\E as user \S+: No such file}, 'which is a warning when it is loaded');
	kill 'KILL', $sy->pid_of('checker');
	like(scalar($sy->wait_log(qr/(recorder: cannot write to .*)/)), qr{\Q$other\E: No such file.*must belong to the user}, 'it is told');
	($ok, $text) = $sy->reload($conf->(recorder => 'recorder { directory var; }'));
	like($text, qr/directory var: the path must begin with \//, 'a path that is none');
	($ok, $text) = $sy->reload($conf->(recorder => 'recorder { files 3; }'));
	like($text, qr/directory/, 'a recorder without a folder');
};
is($sy->stop, 0, 'it ends well');

my $off = Steelyard->start($conf->(recorder => '', log => 'info') =~ s/recorder-entries 256/recorder-entries 0/r);
my $sock = dial($off->port('gone'));
hear_all($sock);
is_deeply(scalar $off->api('GET', '/v1/recorder'), { records => [] }, 'switched off: nothing is recorded');
is($off->stop, 0, 'it ends well');
done_testing;
