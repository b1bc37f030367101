#!/usr/bin/env perl
# protocol sip in mode proxy over IPv6: UDP, TCP and TLS, and clients and servers of which one speaks IPv4. The
# server hangs up, so all that Via and Record-Route say is used. Scripted peers, and SIPp.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Select;
use IO::Socket::IP;
use IO::Socket::SSL;
use Sip qw(request response field messages sipp_server);
use Socket ();
use Steelyard;

my %ip = (4 => '127.0.0.1', 6 => '::1');
my %shown = (4 => '127.0.0.1', 6 => '[::1]');
IO::Socket::IP->new(LocalHost => '::1', Listen => 1) or plan skip_all => 'no IPv6 on the loopback here';
my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('peer', ca => 'ca', names => ['sip.example.net']);
my $dir = $certs->dir;

# One who hears and speaks; a server (listening), or a client of `to`.
package Peer {
	use Test::More;
	sub new {
		my ($class, $transport, $family, %opt) = @_;
		my $self = bless { transport => $transport, family => $family, got => [], buffer => {} }, $class;
		if (!$opt{to}) {
			my @how = $transport eq 'UDP' ? (Type => Socket::SOCK_DGRAM) : (Type => Socket::SOCK_STREAM, Listen => 10);
			$self->{listen} = IO::Socket::IP->new(LocalHost => $ip{$family}, LocalPort => 0, @how) or die "server: $@";
			$self->{port} = $self->{listen}->sockport;
		} else {
			$self->{sock} = $self->connect($ip{$family}, $opt{to});
			$self->{port} = $self->{sock}->sockport;
		}
		$self->{select} = IO::Select->new($self->{listen} || $self->{sock});
		return $self;
	}
	# A connection to there; what is said from now on is said over it.
	sub connect {
		my ($self, $host, $port) = @_;
		my @to = (PeerHost => $host, PeerPort => $port, Timeout => $Steelyard::LIMIT);
		my $sock = $self->{transport} eq 'UDP' ? IO::Socket::IP->new(@to, Type => Socket::SOCK_DGRAM)
			: $self->{transport} eq 'TCP' ? IO::Socket::IP->new(@to, Type => Socket::SOCK_STREAM)
			: IO::Socket::SSL->new(@to, SSL_ca_file => "$dir/ca.crt", SSL_hostname => 'sip.example.net',
				SSL_verifycn_scheme => 'default', SSL_verifycn_name => 'sip.example.net');
		$sock or die "connect to $host $port: $@ $IO::Socket::SSL::SSL_ERROR";
		return $sock;
	}
	sub accept {
		my ($self) = @_;
		my $sock = $self->{listen}->accept or return;
		$sock = IO::Socket::SSL->start_SSL($sock, SSL_server => 1, SSL_cert_file => "$dir/peer.crt", SSL_key_file => "$dir/peer.key")
			|| die "TLS of the server: $IO::Socket::SSL::SSL_ERROR" if $self->{transport} eq 'TLS';
		$self->{select}->add($sock);
	}
	sub take {
		my ($self, $sock) = @_;
		return $self->accept if $self->{listen} && $sock == $self->{listen} && $self->{transport} ne 'UDP';
		if ($self->{transport} eq 'UDP') {
			my $from = $sock->recv(my $bytes, 65536) // return;
			@$self{qw(sock from)} = ($sock, $from) if $self->{listen};
			push @{ $self->{got} }, $bytes;
			return;
		}
		my $n = sysread $sock, $self->{buffer}{$sock}, 65536, length($self->{buffer}{$sock} // '');
		return $self->{select}->remove($sock) unless $n;
		$self->{sock} = $sock;
		push @{ $self->{got} }, Sip::messages(\$self->{buffer}{$sock});
	}
	sub hear {
		my ($self, $pattern) = @_;
		my $end = time + $Steelyard::LIMIT;
		while (1) {
			for my $i (0 .. $#{ $self->{got} }) {
				return splice @{ $self->{got} }, $i, 1 if $self->{got}[$i] =~ $pattern;
			}
			return "nothing like $pattern; got: @{ $self->{got} }" if time > $end;
			my ($ready) = grep { $_->isa('IO::Socket::SSL') && $_->pending } $self->{select}->handles;
			$self->take($_) for $ready || $self->{select}->can_read(1);
		}
	}
	# To whom it has heard last; a client to whom it is connected to.
	sub say {
		my ($self, $bytes) = @_;
		return $self->{from} ? $self->{sock}->send($bytes, 0, $self->{from}) : syswrite $self->{sock}, $bytes;
	}
}

my @transport = qw(UDP TCP TLS);
my %server = map { my $t = $_; map { ("$t$_" => Peer->new($t, $_)) } 4, 6 } @transport;
# One service for each transport and family of servers, with listeners of both families at one port (below those that
# the system gives to whoever connects); servers are told the one of their own.
my %port;
my %used;
for my $t (@transport) {
	for my $family (4, 6) {
		do { $port{"$t$family"} = Steelyard::free_port($t eq 'UDP' ? 'udp' : 'tcp', '127.0.0.1', '::1') } while $used{ $port{"$t$family"} }++;
	}
}
my $conf = '';
for my $t (@transport) {
	for my $family (4, 6) {
		my $name = "$t$family";
		my $at = $port{$name};
		my $tls = $t eq 'TLS' ? "{ tls { certificate $dir/peer.crt; key $dir/peer.key; } }" : ';';
		my $udp = $t eq 'UDP' ? '/udp' : '';
		$conf .= "pool $name { " . ($t eq 'TLS' ? "tls { ca $dir/ca.crt; name sip.example.net; } " : '')
			. "server s $shown{$family}:$server{$name}{port}; }\n"
			. "virtual-service $name { listen 127.0.0.1:$at$udp $tls listen [::1]:$at$udp $tls pool $name; monitor off;\n"
			. "	protocol sip { mode proxy; server-side $shown{$family}:$at; } }\n";
	}
}
# SIPp at a rate: UDP both ways, and from TCP to UDP.
my %sipp = map { $_ => sipp_server('u1', host => $ip{$_}, scenario => Sip::callee(wait => 500)) } 4, 6;
for my $family (4, 6) {
	$conf .= "pool sipp$family { transport udp; server s $shown{$family}:$sipp{$family}{port}; }\n"
		. "virtual-service sipp$family { listen [::1]:0/udp; listen [::1]:0; pool sipp$family; monitor off; protocol sip { mode proxy; } }\n";
}
my $sy = Steelyard->start($conf);

sub routes { return [ $_[0] =~ /^Record-Route: (.*)\r$/mg ] }
sub route_lines { return join '', map { "Route: $_\r\n" } @_ }
sub vias { return join '', $_[0] =~ /^(Via:.*\r\n)/mg }

sub call {
	my ($t, $client_family, $server_family) = @_;
	my $server = $server{"$t$server_family"};
	my $at = $port{"$t$server_family"};
	my $client = Peer->new($t, $client_family, to => $at);
	my ($client_side, $server_side) = map { quotemeta "$shown{$_}:$at" } $client_family, $server_family;
	my $id = "$t-$client_family-$server_family";
	my $parameter = $t eq 'UDP' ? '' : ';transport=' . lc $t;
	my $mine = "$shown{$client_family}:$client->{port}";
	my $from_client = sub {
		my $r = request(@_);
		return $r =~ s{SIP/2\.0/TCP 192\.0\.2\.1:5060;}{SIP/2.0/$t $mine;rport;}r;
	};
	$client->say($from_client->('INVITE', id => $id, branch => "z9hG4bK$id", more => "Contact: <sip:alice\@$mine$parameter>\r\n"));
	my $invite = $server->hear(qr/^INVITE .*Call-ID: $id\r/s);
	like($invite, qr{^INVITE .*\r\nVia: SIP/2\.0/$t $server_side;branch=z9hG4bK[\w-]+[;\r]}, 'the Via that the server sees')
		or return;
	like($invite, qr{^Record-Route: <sip:[\w-]+\@$server_side$parameter;lr>\r\nRecord-Route: <sip:[\w-]+\@$client_side$parameter;lr>\r$}m, 'a Route for each side');
	like($invite, qr{^Via: SIP/2\.0/$t \Q$mine\E;rport=$client->{port};branch=z9hG4bK$id;received=\Q$ip{$client_family}\E\r$}m, 'where the client is');
	my $contact = "$shown{$server_family}:$server->{port}";
	my @record = @{ routes($invite) };
	$server->say(response($invite, 200, 'OK', join('', map { "Record-Route: $_\r\n" } @record) . "Contact: <sip:b\@$contact$parameter>\r\n"));
	my $ok = $client->hear(qr{^SIP/2\.0 2});
	like($ok, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/$t \Q$mine\E;[^\r]*\r\n(?!Via)}, 'the answer comes') or return;
	is_deeply(routes($ok), \@record, 'with both Routes');
	$client->say($from_client->('ACK', id => $id, to => ';tag=server', branch => "z9hG4bKack$id", more => route_lines(reverse @record)));
	like($server->hear(qr/^ACK .*Call-ID: $id\r/s), qr/^ACK /, 'the ACK finds it');
	# The server hangs up, by the Route that it was told.
	my ($host, $port) = $record[0] =~ /\@\[?([0-9a-f.:]+?)\]?:(\d+)[;>]/ or return fail("no host in $record[0]");
	my $caller = Peer->new($t, $server_family, to => $port);
	is($host, $ip{$server_family}, 'which it can reach');
	$caller->say(request('BYE', id => $id, cseq => 7, more => route_lines(@record))
		=~ s{SIP/2\.0/TCP 192\.0\.2\.1:5060;}{SIP/2.0/$t $contact;}r =~ s{^BYE \S+}{BYE sip:alice\@$mine$parameter}r
		=~ s{^From: .*\r\nTo: .*\r\n}{From: <sip:alice\@example.com>;tag=server\r\nTo: <sip:alice\@example.com>;tag=f$id\r\n}mr);
	my $bye = $client->hear(qr{^(?:BYE|SIP/2\.0 [3-6])});
	like($bye, qr{^BYE sip:alice\@\Q$mine\E.*\r\nVia: SIP/2\.0/$t $client_side;branch=}, 'the server hangs up, and the client sees our Via') or return;
	unlike($bye, qr/^Route:/m, 'and no Route of ours');
	$client->say(response($bye, 200, 'OK'));
	like($caller->hear(qr/^SIP/), qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/$t \Q$contact\E;.*Call-ID: $id\r}s, 'which is answered');
}

for my $t (@transport) {
	for my $families ([ 6, 6 ], [ 6, 4 ], [ 4, 6 ]) {
		my ($client, $server) = @$families;
		subtest "$t, client IPv$client, server IPv$server" => sub { call($t, $client, $server) };
	}
}

for my $family (4, 6) {
	my %run = map {
		$_->[0] => Sip::sipp_start([ '-t', $_->[1], qw(-max_socket 200 -r 20 -m 20 -d 100), '[::1]:' . $sy->port("sipp$family", $_->[2]) ],
			host => '::1', scenario => Sip::calling())
	} [ 'UDP', 'un', 0 ], [ 'TCP', 'tn', 1 ];
	for my $t (sort keys %run) {
		my $got = $run{$t}->finish;
		ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == 20, "SIPp, $t, client IPv6, server IPv$family: 20 calls, none failed") or diag $got->{text};
	}
}

is($sy->stop, 0, 'it ends well');
done_testing;
