#!/usr/bin/env perl
# protocol sip: what schedulers that go by the load of servers count: connections, registrations, calls, requests.
use strict;
use warnings;
use IO::Select;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(request response field messages uas);
use Steelyard;
use Way qw(dial say hear);

# They answer with their name; an INVITE for "ring" only rings.
my $answers = sub {
	my $name = shift;
	return sub {
		my $message = shift;
		return '' if $message =~ /^(?:ACK|SIP)/;
		return response($message, 180, 'Ringing', "Server: $name\r\n") if $message =~ /^INVITE sip:ring/;
		return response($message, 200, 'OK', "Server: $name\r\nContact: <sip:x\@192.0.2.9>;expires=600\r\n");
	};
};
my %uas = map { $_ => uas($_, $answers->($_)) } qw(one two);
my $servers = join ' ', map { "server $_ 127.0.0.1:" . $uas{$_}->port . ';' } qw(one two);
sub service {
	my ($name, $mode, $load) = @_;
	return "virtual-service $name { listen 127.0.0.1:0; protocol sip { mode $mode; load $load; } pool p; scheduler least-connections; monitor off; }\n";
}
my $conf = sub { "workers 1;\npool p { $_[0] }\n" . service('plain', 'connection', 'connections')
	. service('dialogs', 'connection', 'dialogs') . service('users', 'connection', 'registrations') . service('requests', 'proxy', 'transactions')
	. service('calls', 'proxy', 'dialogs') . service('far-users', 'proxy', 'registrations')
	. service('trunk', 'proxy; open-requests 1500', 'transactions') };
my $sy = Steelyard->start($conf->($servers));

sub ask {
	my ($sock, @request) = @_;
	say($sock, request(@request));
	return field(hear($sock, qr{^SIP/2\.0 (?:18|[2-6]).*\r\n\r\n\z}ms) =~ s{^SIP/2\.0 100.*?\r\n\r\n}{}sr, 'Server');
}
# The load of both, as the API shows it.
sub load { my $service = shift; return join ' ', map { $sy->seat($service, $_)->{load} // 'none' } @_ }
my @open;
sub connection { my $service = shift; push @open, my $sock = dial($sy->port($service)); return $sock }

# One that carries three of them, and what new connections get after that.
sub heavy {
	my ($service, $unit, @request) = @_;
	my $sock = connection($service);
	my ($heavy) = map { ask($sock, @request, user => "user$_", id => "$service-$_") } 1 .. 3;
	my $light = $heavy eq 'one' ? 'two' : 'one';
	is(load($service, $heavy, $light), '3 0', "$heavy has three $unit");
	is($sy->seat($service, $heavy)->{load_unit}, $unit, 'and the API says what they are');
	my %got;
	$got{ ask(connection($service), 'OPTIONS', id => "$service-new-$_") }++ for 1 .. 5;
	is_deeply(\%got, { $light => 5 }, "$light gets what is new, however many connections that are");
	return ($sock, $heavy, $light);
}

subtest 'connections' => sub {
	my $sock = connection('plain');
	ask($sock, 'INVITE', user => "user$_", id => "plain-$_") for 1 .. 3;
	my %got;
	$got{ ask(connection('plain'), 'OPTIONS', id => "plain-new-$_") }++ for 1 .. 5;
	is_deeply([ sort values %got ], [ 2, 3 ], 'each one counts the same, whatever it carries');
};

subtest 'calls' => sub {
	my ($sock, $heavy, $light) = heavy('dialogs', 'dialogs', 'INVITE');
	for my $i (1 .. 3) {
		say($sock, request('ACK', id => "dialogs-$i", to => ';tag=server', user => "user$i"));
		ask($sock, 'BYE', id => "dialogs-$i", cseq => 2, to => ';tag=server', user => "user$i");
	}
	is(load('dialogs', $heavy, $light), '0 0', 'calls that have ended count no more');
};

subtest 'registrations' => sub {
	my ($sock, $heavy, $light) = heavy('users', 'registrations', 'REGISTER');
	close $sock;
	Steelyard::wait_for('the registrations to end', sub { load('users', $heavy, $light) eq '0 0' });
	pass('they end with their connection');
};

subtest 'requests, in mode proxy' => sub {
	my $sock = connection('requests');
	my %at;
	$at{ ask($sock, 'INVITE', user => 'ring', id => "ring-$_") }++ for 1 .. 2;
	is_deeply(\%at, { one => 1, two => 1 }, 'one rings here and one there');
	my ($heavy) = ask($sock, 'INVITE', user => 'ring', id => 'ring-3');
	my $light = $heavy eq 'one' ? 'two' : 'one';
	is(load('requests', $heavy, $light), '2 1', "$heavy has two to answer");
	my %got;
	$got{ ask($sock, 'OPTIONS', id => "requests-new-$_") }++ for 1 .. 5;
	is_deeply(\%got, { $light => 5 }, "$light gets what is new");
};

# Calls and registrations are at the servers that have answered, though no connection is.
sub far {
	my ($service, $unit, $method) = @_;
	my $sock = connection($service);
	my %at = map { my $id = "$service-$_"; $id => ask($sock, $method, user => "user$_", id => $id) } 1 .. 4;
	is(load($service, qw(one two)), '2 2', "$unit are spread");
	is($sy->seat($service, 'one')->{load_unit}, $unit, 'and the API says what they are');
	return ($sock, %at);
}

subtest 'calls, in mode proxy' => sub {
	my ($sock, %at) = far('calls', 'dialogs', 'INVITE');
	for my $id (grep { $at{$_} eq 'one' } sort keys %at) {
		my ($user) = $id =~ /(\d+)$/;
		say($sock, request('ACK', id => $id, to => ';tag=server', user => "user$user", branch => "z9hG4bK-ack-$id"));
		ask($sock, 'BYE', id => $id, cseq => 2, to => ';tag=server', user => "user$user");
	}
	is(load('calls', qw(one two)), '0 2', 'those of one server have ended');
	my %got;
	$got{ ask(connection('calls'), 'OPTIONS', id => "calls-new-$_") }++ for 1 .. 5;
	is_deeply(\%got, { one => 5 }, 'it gets what is new, whoever asks');
	close $sock;
	Steelyard::wait_for('the calls to be forgotten', sub { load('calls', qw(one two)) eq '0 0' });
	pass('a client that has left has no calls');
};

subtest 'registrations, in mode proxy' => sub {
	my ($sock, %at) = far('far-users', 'registrations', 'REGISTER');
	my ($id) = grep { $at{$_} eq 'two' } sort keys %at;
	# Refreshed at whatever server: it counts there, and only there.
	my ($user) = $id =~ /(\d+)$/;
	my $now = ask($sock, 'REGISTER', user => "user$user", id => $id, cseq => 2);
	is(load('far-users', qw(one two)), $now eq 'two' ? '2 2' : '3 1', "a registration that is refreshed counts where it is now ($now)");
	# A server that is new: the client's connection is older than that, and what it asks is not.
	my $third = uas('three', $answers->('three'));
	my ($ok, $text) = $sy->reload($conf->("$servers server three 127.0.0.1:" . $third->port . ';'));
	ok($ok, 'a server is added') or diag $text;
	is(ask($sock, 'REGISTER', user => 'user9', id => 'far-users-9'), 'three', 'it gets what is new');
	is(load('far-users', 'three'), '1', 'and has it');
	my $pid = $sy->pid_of('worker', 0);
	kill 'KILL', $pid;
	Steelyard::wait_for('another worker', sub { my $new = $sy->pid_of('worker', 0); $new && $new != $pid });
	Steelyard::wait_for('nothing to be left', sub { load('far-users', qw(one two three)) eq '0 0 0' });
	pass('what a worker had dies with it');
};

subtest 'a client with many requests, in mode proxy' => sub {
	my $sock = connection('trunk');
	my ($heard, $end, %got) = ('', time + $Steelyard::LIMIT);
	say($sock, join '', map { request('INVITE', user => 'ring', id => "trunk-$_") } 1 .. 1501);
	while (($got{180} // 0) + ($got{503} // 0) < 1501 && time < $end && IO::Select->new($sock)->can_read($end - time)) {
		sysread $sock, $heard, 65536, length $heard or last;
		$got{$1}++ while $heard =~ s{\ASIP/2\.0 (\d+) .*?\r\n\r\n}{}s;
	}
	is_deeply([ @got{180, 503} ], [ 1500, 1 ], 'as many as it may have are passed on, and one more is refused');
	my @servers = qw(one two three);
	is(eval join('+', map { load('trunk', $_) } @servers), 1500, 'to all servers together');
	close $sock;
	Steelyard::wait_for('all to be over', sub { load('trunk', @servers) eq '0 0 0' });
};

subtest 'what is not known' => sub {
	my ($ok, $text) = $sy->reload("pool p { $servers }\n" . service('x', 'pass-through', 'dialogs'));
	ok(!$ok, 'load dialogs in mode pass-through is refused');
	like($text, qr/load: dialogs are not known of a server in mode pass-through/, 'in words');
};

is($sy->stop, 0, 'it ends well');
done_testing;
