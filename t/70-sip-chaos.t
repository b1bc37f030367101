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
use Sip qw(request response field messages kamailio sipp_server);
use Steelyard;
use Way qw(dial say hear ending);

my $busy = 'scheduler round-robin; monitor off;';
my %u = map { $_ => sipp_server('u1', scenario => Sip::callee(wait => 500)) } qw(u1 u2);
# Servers to be killed, each one process, so that its death ends all of its connections. What belongs to no call that
# it knows is 481.
my @pid;
END { kill 'KILL', @pid if @pid }
sub answer {
	my ($name, $known, $message) = @_;
	return '' if $message =~ /^(?:ACK|SIP)/;
	my $record = join '', $message =~ /^(Record-Route:.*\r\n)/mig;
	my $id = field($message, 'Call-ID');
	$known->{$id} = 1 if $message =~ /^INVITE/;
	return response($message, 481, 'No Such Call', "Server: $name\r\n") if $message =~ /^BYE/ && !$known->{$id};
	return response($message, 200, 'OK', "Server: $name\r\n${record}Contact: <sip:b\@192.0.2.9>\r\n");
}
sub uas {
	my ($name, $udp) = @_;
	my $listen = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, $udp ? (Type => SOCK_DGRAM) : (Listen => 1024)) or die $@;
	my $pid = fork // die "fork: $!";
	if ($pid) {
		push @pid, $pid;
		return { name => $name, pid => $pid, port => $listen->sockport };
	}
	Steelyard::die_with_parent();
	my $select = IO::Select->new($listen);
	my (%buffer, %known);
	while ($udp) {
		my $from = $listen->recv(my $message, 65536) // next;
		my $said = answer($name, \%known, $message);
		$listen->send($said, 0, $from) if length $said;
	}
	while (my @ready = $select->can_read) {
		for my $sock (@ready) {
			if ($sock == $listen) {
				$select->add($listen->accept || next);
			} elsif (!sysread $sock, $buffer{$sock}, 65536, length($buffer{$sock} // '')) {
				$select->remove($sock);
				delete $buffer{$sock};
			} else {
				say($sock, answer($name, \%known, $_)) for messages(\$buffer{$sock});
			}
		}
	}
	POSIX::_exit(0);
}
my %t = map { $_ => uas($_, /^k/) } qw(s1 s2 t1 t2 k1 k2);
# SIPp answers to where a call has begun, which is a socket that dies with its worker; Kamailio to where a request
# came from.
my @kamailio = map { [ kamailio(proxy => 1, callee => $u{$_}{port}) ] } qw(u1 u2);
my $sy = Steelyard->start(<<"CONF");
workers 2;
pool udp { server u1 127.0.0.1:$kamailio[0][1]{udp}; server u2 127.0.0.1:$kamailio[1][1]{udp}; }
pool tcp { server s1 127.0.0.1:$t{s1}{port}; server s2 127.0.0.1:$t{s2}{port}; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool udp; $busy }
virtual-service tcp { listen 127.0.0.1:0; protocol sip { mode proxy; } pool tcp; $busy }
CONF
# Its servers are killed.
my $bell = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Type => SOCK_DGRAM) or die $@;
my $other = Steelyard->start(<<"CONF");
pool udp { server k1 127.0.0.1:$t{k1}{port}; server k2 127.0.0.1:$t{k2}{port}; }
pool tcp { server t1 127.0.0.1:$t{t1}{port}; server t2 127.0.0.1:$t{t2}{port}; }
pool bell { server b 127.0.0.1:@{[ $bell->sockport ]}; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol sip { mode proxy; } pool udp; $busy }
virtual-service tcp { listen 127.0.0.1:0; protocol sip { mode proxy; } pool tcp; $busy }
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
my $hold = 12000;
my %run = (worker => calls($sy, 'udp', 'un', $up, $hold), server => calls($other, 'udp', 'un', $up, $hold));

# Calls over TCP.
sub phones {
	my ($sy, $n) = @_;
	my $port = $sy->port('tcp');
	my @phone = map { { sock => dial($port), id => "tcp-$_" } } 1 .. $n;
	for my $phone (@phone) {
		say($phone->{sock}, request('INVITE', id => $phone->{id}));
		my $got = hear($phone->{sock}, qr{^SIP/2\.0 200.*\r\n\r\n\z}ms);
		$phone->{server} = field($got =~ s{^SIP/2\.0 100.*?\r\n\r\n}{}sr, 'Server');
		$phone->{routes} = join '', map { "Route: $_\r\n" } reverse $got =~ /^Record-Route: (.*)\r$/mg;
		say($phone->{sock}, request('ACK', id => $phone->{id}, to => ';tag=server', more => $phone->{routes}, branch => "z9hG4bKack$phone->{id}"));
	}
	return @phone;
}
# "status server"
sub hang_up {
	my ($phone, $sock) = @_;
	say($sock, request('BYE', id => $phone->{id}, cseq => 2, to => ';tag=server', more => $phone->{routes}));
	my $got = hear($sock, qr{^SIP/2\.0 .*\r\n\r\n\z}s);
	return ($got =~ m{^SIP/2\.0 (\d+)} ? $1 : 'nothing') . ' ' . field($got, 'Server');
}
my $port = $sy->port('tcp');
my @phone = phones($sy, 30);
my @other = phones($other, 30);
my %worker = map { $_->{client} => $_->{worker} } grep { $_->{service} eq 'tcp' && !$_->{parent} } @{ $sy->api('GET', '/v1/connections')->{connections} };
$_->{worker} = $worker{ '127.0.0.1:' . $_->{sock}->sockport } // 'none' for @phone;
all_up($sy, 'udp', $up);
all_up($other, 'udp', $up);

# All at once.
my $lost = $other->seat('udp', 'k1')->{figures}{requests_invite};
my $victim = $phone[0]{worker};
my $pid = $sy->pid_of('worker', $victim);
kill 'KILL', $pid, $t{k1}{pid}, $t{t1}{pid};
Steelyard::wait_for('the successor', sub { my $new = $sy->pid_of('worker', $victim); $new && $new != $pid });
waitpid $t{$_}{pid}, 0 for qw(k1 t1);
my $next = calls($other, 'udp', 'un', 20, 200);

subtest 'a worker' => sub {
	my %server;
	$server{ $_->{server} }++ for @phone;
	is_deeply(\%server, { s1 => 15, s2 => 15 }, '30 calls over TCP, with two servers');
	my @dead = grep { $_->{worker} eq $victim } @phone;
	my @alive = grep { $_->{worker} ne $victim } @phone;
	cmp_ok(@dead * @alive, '>', 0, @dead . ' are at one worker, ' . @alive . ' at the other');
	is(scalar(grep { ending($_->{sock}) ne 'late' } @dead), scalar @dead, 'the connections of the dead one are gone');
	is(scalar(grep { hang_up($_, $_->{sock}) eq "200 $_->{server}" } @alive), scalar @alive, 'all others hang up, at their servers');
	is(scalar(grep { hang_up($_, dial($port)) eq "200 $_->{server}" } @dead), scalar @dead, 'who has lost the connection does it over another one');
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
	my %got;
	$got{ "$_->{server}: " . hang_up($_, $_->{sock}) }++ for @other;
	is_deeply(\%got, { 't1: 481 t2' => 15, 't2: 200 t2' => 15 }, 'TCP: calls of the dead one are told by the other that it does not know them');
	my %new;
	$new{ $_->{server} }++ for phones($other, 20);
	is_deeply(\%new, { t2 => 20 }, 'new calls go there');
	my $got = $next->finish;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == 20, 'UDP: 20 new calls, none failed') or diag $got->{text};
	cmp_ok($lost, '>', 0, "$lost were with the dead one");
	$got = $run{server}->finish;
	is_deeply([ @$got{qw(good failed unexpected)} ], [ $up - $lost, $lost, $lost ], 'whose BYEs are answered by the other one') or diag $got->{text};
	is(figures($other, 'udp')->{unanswered}, 0, 'nothing waits for a time to pass');
	kill 'KILL', $t{t2}{pid};
	waitpid $t{t2}{pid}, 0;
	my $sock = dial($other->port('tcp'));
	say($sock, request('INVITE', id => 'nobody'));
	like(hear($sock, qr{^SIP/2\.0 [2-6].*\r\n\r\n\z}ms), qr{^SIP/2\.0 503 Service Unavailable\r\nRetry-After: }m, 'when all are dead: 503');
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
		my ($status, $method) = $answer =~ m{^SIP/2\.0 (\d+).*CSeq: 1 (\w+)}s;
		$got{ $method // $answer } = $status;
	}
	is($got{CANCEL}, 200, 'the CANCEL is answered');
	is($got{INVITE}, 503, 'and the INVITE: nobody is there');
	$client->send($udp->('ACK', id => 'rings', branch => 'z9hG4bKrings', to => field($invite, 'To') =~ /(;tag=\S+)/ ? $1 : ''));
};

is($_->stop, 0, 'it ends well') for $sy, $other;
done_testing;
