#!/usr/bin/env perl
# A drained server loses no transaction: with drain-close, SIP connections are closed between requests,
# and with keep-dialogs between calls; clients come back to other servers. All requests are counted.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Select;
use Sip qw(request response messages registrar);
use Steelyard;
use Time::HiRes qw(time);
use Way qw(dial say hear ending);

# It answers SLOW requests when a byte comes over a pipe, all others at once, and says who it is.
pipe my $gate, my $open or die $!;
my $answer = sub {
	my ($name) = @_;
	return sub {
		my $request = shift;
		sysread $gate, my $byte, 1 if $request =~ /^SLOW/;
		return response($request, 200, 'OK', "Server: $name\r\n" . ($request =~ /^REGISTER/ ? "Contact: <sip:a\@b>\r\n" : ''));
	};
};
my ($r1, $r2) = map { registrar($_, answer => $answer->($_)) } qw(r1 r2);
my $sy = Steelyard->start(<<CONF);
workers 1;
pool p { server r1 127.0.0.1:@{[ $r1->port ]}; server r2 127.0.0.1:@{[ $r2->port ]}; }
virtual-service sip { listen 127.0.0.1:0; protocol sip { mode connection; } pool p; scheduler round-robin; monitor off; drain-close 1s; }
virtual-service calls { listen 127.0.0.1:0; protocol sip { mode connection; keep-dialogs on; } pool p; scheduler round-robin; monitor off; drain-close 1s; }
CONF
my %port = map { $_ => $sy->port($_) } qw(sip calls);
my $sent = 0;
my $answered = 0;

sub ask {
	my ($sock, $method, %is) = @_;
	$sent++;
	say($sock, request($method, %is));
	my $got = hear($sock, qr/\r\n\r\n\z/);
	$answered++ if $got =~ m{^SIP/2\.0 200};
	return $got =~ /^Server: (\w+)/m ? $1 : $got;
}

# A connection to the server r1, registered.
sub held {
	my ($service) = @_;
	for (1 .. 4) {
		my $sock = dial($port{$service});
		return $sock if ask($sock, 'REGISTER') eq 'r1';
	}
	BAIL_OUT('r1 is never chosen');
}
my ($quiet, $waits, $talks) = map { held('sip') } 1 .. 3;
my ($calls, $called) = map { held('calls') } 1 .. 2;
is(ask($called, 'INVITE', id => 'call', more => "Contact: <sip:a\@b>\r\n"), 'r1', 'a call is set up');
$sent++;
say($waits, request('SLOW', id => 'slow'));
my $from = time;
is(($sy->ctl('drain', 'r1'))[1], 0, 'the server is drained');
my $served = 1;
for my $sock ($quiet, $calls) {
	while (!IO::Select->new($sock)->can_read(0.2) && time < $from + $Steelyard::LIMIT) {
		$served &&= ask($talks, 'OPTIONS') eq 'r1';
	}
	is(ending($sock), 'end', 'a quiet connection is closed in order');
}
ok($served, 'who talks is served meanwhile');
cmp_ok(time - $from, '>=', 0.9, 'after drain-close');
my $later = time;
ask($talks, 'OPTIONS') while !select(undef, undef, undef, 0.3) && time < $later + 3;
ok(!IO::Select->new($waits)->can_read(0), 'one with an open request is not, long after');
ok(!IO::Select->new($called)->can_read(0), 'nor one with a call, with keep-dialogs');
syswrite $open, 'x';
my $got = hear($waits, qr/\r\n\r\n\z/);
like($got, qr{^SIP/2\.0 200 OK\r\n.*Server: r1}s, 'its answer comes');
$answered++ if $got =~ m{^SIP/2\.0 200};
is(ending($waits), 'end', 'and then it is closed');
is(ask($called, 'BYE', id => 'call', cseq => 2, to => ';tag=server') =~ s/\W.*//sr, 'r1', 'the call ends');
is(ending($called), 'end', 'and then it is closed');
is(ending($talks), 'end', 'as is who falls silent');
for (1 .. 4) {
	my $sock = dial($port{sip});
	is(ask($sock, 'REGISTER'), 'r2', 'clients come back to the other server');
}
is($answered, $sent, "$sent requests, $answered answers: no transaction is lost");
my ($service) = grep { $_->{name} eq 'sip' } @{ $sy->api('GET', '/v1/services')->{services} };
is($service->{figures}{unanswered}, 0, 'and none is counted as lost');
is($service->{figures}{refused}, 0, 'none was refused');
done_testing;
