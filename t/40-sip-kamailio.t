#!/usr/bin/env perl
# Kamailio behind each mode of protocol sip, over UDP, TCP and TLS: registrations, with credentials (401) and
# without, calls with credentials (407), and redirections, by SIPp. SIPp knows no TLS: another Steelyard does it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Sip qw(kamailio);
use Steelyard;

my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('server', ca => 'ca', names => ['sip.example.net']);
my $dir = $certs->dir;
my ($kamailio, $kam) = kamailio(certs => $dir);
my $secured = "{ tls { certificate $dir/server.crt; key $dir/server.key; } }";
my $secures = "tls { ca $dir/ca.crt; name sip.example.net; }";

# Mode, what clients speak, what the server is spoken to by.
my @case = (
	[ 'pass-through', 'udp', 'udp' ], [ 'pass-through', 'tcp', 'tcp' ], [ 'pass-through', 'tls', 'tcp' ],
	[ 'connection', 'tcp', 'tcp' ], [ 'connection', 'tls', 'tls' ], [ 'connection', 'tls', 'tcp' ], [ 'connection', 'tcp', 'tls' ],
	[ 'proxy', 'udp', 'udp' ], [ 'proxy', 'tcp', 'tcp' ], [ 'proxy', 'tls', 'tls' ], [ 'proxy', 'udp', 'tcp' ], [ 'proxy', 'udp', 'tls' ],
	[ 'proxy', 'tcp', 'udp' ],
);
my $conf = '';
for my $case (@case) {
	my ($mode, $client, $server) = @$case;
	my $name = $case->[3] = "$mode-$client-$server";
	# What passes through is TLS to its end.
	my $ends = $mode ne 'pass-through';
	my $port = $kam->{ !$ends ? $client : $server };
	my $transport = $mode ne 'proxy' || $server eq 'tls' ? '' : "transport $server;";
	$conf .= "pool $name { $transport " . ($server eq 'tls' ? $secures : '') . " server k 127.0.0.1:$port; }\n"
		. "virtual-service $name { listen 127.0.0.1:0" . ($client eq 'udp' ? '/udp;' : $client eq 'tls' && $ends ? " $secured" : ';')
		. " protocol sip { mode $mode; } pool $name; monitor off; }\n";
}
my $sy = Steelyard->start($conf);
my $front = Steelyard->start(join '', map { my $name = $_->[3]; <<"CONF" } grep { $_->[1] eq 'tls' } @case);
pool $name { $secures server s 127.0.0.1:@{[ $sy->port($name) ]}; }
virtual-service $name { listen 127.0.0.1:0; pool $name; monitor off; }
CONF

# One call of SIPp is all of it, for a user of its own.
sub says {
	my ($method, $user, $to, $cseq, $more) = @_;
	my $retrans = $method eq 'ACK' ? '' : ' retrans="500"';
	my $uri = $method eq 'REGISTER' ? 'example.com' : "$to\@example.com";
	my $via = $method eq 'ACK' ? '[last_Via:]' : 'Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]';
	my $tag = $method eq 'ACK' ? '[peer_tag_param]' : '';
	return <<"XML";
  <send$retrans><![CDATA[
$method sip:$uri SIP/2.0
$via
Max-Forwards: 70
From: <sip:$user\[call_number]\@example.com>;tag=$user\[call_number]
To: <sip:$to\@example.com>$tag
Call-ID: [call_id]
CSeq: $cseq $method
Contact: <sip:$user\[call_number]\@[local_ip]:[local_port];transport=[transport]>
Expires: 600
@{[ $more // 'X: y' ]}
Content-Length: 0

  ]]></send>
XML
}
sub hears { my ($status, $auth) = @_; return qq{  <recv response="100" optional="true"></recv>\n  <recv response="$status"} . ($auth ? ' auth="true"' : '') . "></recv>\n" }
my $scenario = says('REGISTER', 'user', 'user[call_number]', 1) . hears(200)
	. says('REGISTER', 'secret', 'secret[call_number]', 2) . hears(401, 1)
	. says('REGISTER', 'secret', 'secret[call_number]', 3, '[authentication]') . hears(200)
	. says('INVITE', 'user', 'moved', 4) . hears(302) . says('ACK', 'user', 'moved', 4)
	. says('INVITE', 'secret', 'moved', 5) . hears(407, 1) . says('ACK', 'secret', 'moved', 5)
	. says('INVITE', 'secret', 'moved', 6, '[authentication]') . hears(302) . says('ACK', 'secret', 'moved', 6)
	. says('INVITE', 'user', 'nobody', 7) . hears(404) . says('ACK', 'user', 'nobody', 7);
my $calls = 10;

my %run = map {
	my ($mode, $client, $server, $name) = @$_;
	my $port = $client eq 'tls' ? $front->port($name) : $sy->port($name);
	$name => Sip::sipp_start([ '-t', $client eq 'udp' ? 'u1' : 'tn', qw(-max_socket 100 -r 10 -m), $calls, "127.0.0.1:$port" ], scenario => $scenario)
} @case;
for my $case (@case) {
	my ($mode, $client, $server, $name) = @$case;
	my $got = $run{$name}->finish;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == $calls, "mode $mode, $client to $server: $calls times, none failed")
		or diag $got->{text}, grep { / service=\Q$name\E / && !/ end=client-done/ } map { split /^/, $_->log_text } $front, $sy;
}

my %figures = map { $_->{name} => $_->{figures} } @{ $sy->api('GET', '/v1/services')->{services} };
for my $case (grep { $_->[0] ne 'pass-through' } @case) {
	my ($mode, $client, $server, $name) = @$case;
	my $f = $figures{$name};
	my @got = @$f{qw(requests_register requests_invite requests_ack answers_2xx answers_3xx challenges refused unanswered)};
	is_deeply(\@got, [ map({ $_ * $calls } 3, 4, 4, 2, 2, 2), 0, 0 ], "mode $mode, $client to $server: all of it is counted");
}
is($_->stop, 0, 'it ends well') for $front, $sy;
done_testing;
