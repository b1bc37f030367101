#!/usr/bin/env perl
# SIGKILL in mode proxy. A worker: calls over UDP go on, calls over TCP of the others are untouched, and who was at
# the dead one connects again and ends the call that it has. A server: its calls get a definite answer, new ones go
# elsewhere.
use strict;
use warnings;
use IO::Select;
use IO::Socket::IP;
use Socket qw(SOCK_DGRAM);
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(request response field messages sipp_server);
use Steelyard;
use Way qw(dial say hear ending);

my $busy = 'scheduler round-robin; monitor off;';
my %u = map { $_ => sipp_server('u1', scenario => Sip::callee(wait => 500)) } qw(u1 u2 k1 k2);
# A SIPp server ends with a connection of one of its calls, so none is closed.
my %t = map { $_ => sipp_server('t1', scenario => Sip::callee()) } qw(t1 t2);
my @server = map {
	my $name = $_;
	Steelyard->server($name, each => sub {
		my $sock = shift;
		my $buffer = '';
		while (sysread $sock, $buffer, 65536, length $buffer) {
			for my $message (messages(\$buffer)) {
				next if $message =~ /^(?:ACK|SIP)/;
				my $record = join '', $message =~ /^(Record-Route:.*\r\n)/mig;
				say($sock, response($message, 200, 'OK', "Server: $name\r\n${record}Contact: <sip:b\@192.0.2.9>\r\n"));
			}
		}
	});
} qw(s1 s2);
my $sy = Steelyard->start(<<"CONF");
workers 2;
pool udp { server u1 127.0.0.1:$u{u1}{port}; server u2 127.0.0.1:$u{u2}{port}; }
pool tcp { server s1 127.0.0.1:@{[ $server[0]->port ]}; server s2 127.0.0.1:@{[ $server[1]->port ]}; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool udp; $busy }
virtual-service tcp { listen 127.0.0.1:0; protocol sip { mode proxy; } pool tcp; $busy }
CONF
# Its servers are killed.
my $bell = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Type => SOCK_DGRAM) or die $@;
my $other = Steelyard->start(<<"CONF");
pool udp { server k1 127.0.0.1:$u{k1}{port}; server k2 127.0.0.1:$u{k2}{port}; }
pool tcp { server t1 127.0.0.1:$t{t1}{port}; server t2 127.0.0.1:$t{t2}{port}; }
pool bell { server b 127.0.0.1:@{[ $bell->sockport ]}; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool udp; $busy }
virtual-service tcp { listen 127.0.0.1:0; protocol sip { mode proxy; } pool tcp; server-idle-connections 1000; $busy }
virtual-service bell { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool bell; $busy }
CONF

sub figures {
	my ($sy, $service) = @_;
	my ($found) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return $found->{figures};
}
sub calls {
	my ($sy, $service, $transport, $n, $hold) = @_;
	return Sip::sipp_start([ '-t', $transport, qw(-max_socket 500 -r 30 -m), $n, '-d', $hold, '127.0.0.1:' . $sy->port($service) ],
		scenario => Sip::calling());
}
# All calls are up: nothing is open, and nobody has hung up.
sub all_up {
	my ($sy, $service, $n) = @_;
	Steelyard::wait_for("$n calls in $service", sub { (figures($sy, $service)->{requests_ack} // 0) >= $n });
	$sy->api('GET', '/v1/connections');
	my $f = figures($sy, $service);
	is($f->{requests_bye}, 0, "$service: $n calls are up, nobody has hung up");
}

my $up = 60;
my %run = (worker => calls($sy, 'udp', 'un', $up, 12000), udp => calls($other, 'udp', 'un', $up, 12000), tcp => calls($other, 'tcp', 'tn', $up, 12000));
my %died;

subtest 'a worker' => sub {
	my $port = $sy->port('tcp');
	my @phone = map { my $sock = dial($port); { sock => $sock, id => "tcp-$_" } } 1 .. 30;
	for my $phone (@phone) {
		say($phone->{sock}, request('INVITE', id => $phone->{id}));
		my $got = hear($phone->{sock}, qr{^SIP/2\.0 200.*\r\n\r\n\z}ms);
		$phone->{server} = field($got =~ s{^SIP/2\.0 100.*?\r\n\r\n}{}sr, 'Server');
		$phone->{routes} = join '', map { "Route: $_\r\n" } reverse $got =~ /^Record-Route: (.*)\r$/mg;
		say($phone->{sock}, request('ACK', id => $phone->{id}, to => ';tag=server', more => $phone->{routes}, branch => "z9hG4bKack$phone->{id}"));
	}
	my $hang_up = sub {
		my ($phone, $sock) = @_;
		say($sock, request('BYE', id => $phone->{id}, cseq => 2, to => ';tag=server', more => $phone->{routes}));
		return field(hear($sock, qr{^SIP/2\.0 .*\r\n\r\n\z}s), 'Server');
	};
	my %server;
	$server{ $_->{server} }++ for @phone;
	is_deeply(\%server, { s1 => 15, s2 => 15 }, '30 calls over TCP, with two servers');
	all_up($sy, 'udp', $up);
	my %worker = map { $_->{client} => $_->{worker} } grep { $_->{service} eq 'tcp' && !$_->{parent} } @{ $sy->api('GET', '/v1/connections')->{connections} };
	$_->{worker} = $worker{ '127.0.0.1:' . $_->{sock}->sockport } // 'none' for @phone;
	my $victim = $phone[0]{worker};
	my $pid = $sy->pid_of('worker', $victim);
	my @dead = grep { $_->{worker} eq $victim } @phone;
	my @alive = grep { $_->{worker} ne $victim } @phone;
	cmp_ok(@dead * @alive, '>', 0, @dead . ' are at one worker, ' . @alive . ' at the other');
	kill 'KILL', $pid;
	Steelyard::wait_for('the successor', sub { my $new = $sy->pid_of('worker', $victim); $new && $new != $pid });
	is(scalar(grep { ending($_->{sock}) ne 'late' } @dead), scalar @dead, 'the connections of the dead one are gone');
	is(scalar(grep { $hang_up->($_, $_->{sock}) eq $_->{server} } @alive), scalar @alive, 'all others hang up, at their servers');
	is(scalar(grep { $hang_up->($_, dial($port)) eq $_->{server} } @dead), scalar @dead, 'who has lost the connection does it over another one');
	my %new;
	for (1 .. 10) {
		my $sock = dial($port);
		say($sock, request('REGISTER', id => "new-$_"));
		$new{ field(hear($sock, qr{^SIP/2\.0 .*\r\n\r\n\z}s), 'Server') }++;
	}
	is_deeply([ sort keys %new ], [ qw(s1 s2) ], 'and everybody can register');
	my $got = $run{worker}->finish;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == $up, "UDP: $up calls, none failed") or diag $got->{text};
};

subtest 'a server' => sub {
	all_up($other, $_, $up) for qw(udp tcp);
	my %killed = (udp => 'k1', tcp => 't1');
	my %lost = map { $_ => $other->seat($_, $killed{$_})->{figures}{requests_invite} } keys %killed;
	for ($u{k1}, $t{t1}) {
		kill 'KILL', $_->{pid};
		Steelyard::wait_for('its death', sub { !$_->alive });
	}
	my %next = map { $_ => calls($other, $_, $_ eq 'udp' ? 'un' : 'tn', 20, 200) } qw(udp tcp);
	for my $service (qw(udp tcp)) {
		my $got = $next{$service}->finish;
		ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == 20, "$service: 20 new calls, none failed") or diag $got->{text};
		cmp_ok($lost{$service}, '>', 0, "$lost{$service} were with the dead one");
		$got = $run{$service}->finish;
		is_deeply([ $got->{failed}, $got->{good} ], [ $lost{$service}, $up - $lost{$service} ], 'they fail, and no others');
		is($got->{unexpected}, $lost{$service}, 'by an answer that was not expected') or diag $got->{text};
		like($got->{text}, qr{SIP/2\.0 503 }, 'which is 503');
		is(figures($other, $service)->{unanswered}, 0, 'nothing waits for a time to pass');
	}
};

# It rings, and dies: nobody knows until something is said to it.
subtest 'a server that rings' => sub {
	my $client = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $other->port('bell'), Type => SOCK_DGRAM) or die $@;
	my $hear = sub {
		my ($sock, $pattern) = @_;
		while (IO::Select->new($sock)->can_read($Steelyard::LIMIT)) {
			my $from = $sock->recv(my $bytes, 65536);
			return ($bytes, $from) if ($bytes // '') =~ $pattern;
		}
		return "nothing like $pattern";
	};
	my $udp = sub { return request(@_) =~ s{SIP/2\.0/TCP}{SIP/2.0/UDP}r };
	$client->send($udp->('INVITE', id => 'rings', branch => 'z9hG4bKrings'));
	my ($invite, $from) = $hear->($bell, qr/^INVITE/);
	$bell->send(response($invite, 180, 'Ringing'), 0, $from);
	like(($hear->($client, qr{^SIP/2\.0 18}))[0], qr/180/, 'it rings');
	close $bell;
	$client->send($udp->('CANCEL', id => 'rings', branch => 'z9hG4bKrings'));
	my %got;
	for (1 .. 2) {
		my ($answer) = $hear->($client, qr{^SIP/2\.0 [2-6]});
		$got{ $answer =~ /CSeq: 1 (\w+)/ ? $1 : 'none' } = $answer =~ m{^SIP/2\.0 (\d+)} ? $1 : $answer;
	}
	is($got{CANCEL}, 200, 'the CANCEL is answered');
	is($got{INVITE}, 503, 'and the INVITE: nobody is there');
	$client->send($udp->('ACK', id => 'rings', branch => 'z9hG4bKrings', to => field($invite, 'To') =~ /(;tag=\S+)/ ? $1 : ''));
};

is($_->stop, 0, 'it ends well') for $sy, $other;
done_testing;
