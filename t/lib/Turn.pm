# TURN for tests: coturn as the server, and a client that is small enough to be read. Both dialects' messages
# are made here apart from the code under test.
#
#	my $server = Turn::Server->new('one');                   # coturn on an address of its own
#	my $client = Turn::Client->new($vip, $port);             # UDP; tcp => 1: TCP
#	$client->allocate or die $client->{error};               # the 401 and all
#	$client->bind_channel($peer_host, $peer_port);
#	$client->channel('hello', 'hello');                      # says it, waits for the echo
package Turn;
use strict;
use warnings;
use Digest::MD5 qw(md5);
use Digest::SHA qw(hmac_sha1);
use Socket qw(inet_aton inet_ntoa);
use File::Temp ();
use Steelyard;

our ($USER, $PASSWORD, $REALM) = ('alice', 's3cret', 'lab.test');
my $COOKIE = pack 'N', 0x2112a442;
my $tids = 0;

sub tid { $COOKIE . pack 'NNN', $$, ++$tids, int rand 2**32 }
sub attr { my ($type, $value) = @_; pack('nn', $type, length $value) . $value . "\0" x (-length($value) % 4) }
sub xor_addr { my ($host, $port) = @_; pack 'xCna4', 1, $port ^ 0x2112, inet_aton($host) ^ $COOKIE }

sub message {
	my ($type, $tid, $body, $key) = @_;
	if (defined $key) {
		my $head = pack('nn', $type, length($body) + 24) . $tid;
		$body .= attr(0x0008, hmac_sha1($head . $body, $key));
	}
	return pack('nn', $type, length $body) . $tid . $body;
}

# { type, tid, error, lifetime, 0x0014 => value, ... }, or nothing.
sub parse {
	my $bytes = shift;
	return unless length $bytes >= 20;
	my ($type, $len) = unpack 'nn', $bytes;
	return if $type >= 0x4000 || length $bytes != 20 + $len;
	my %got = (type => $type, tid => substr $bytes, 4, 16);
	for (my $at = 20; $at < 20 + $len;) {
		my ($attr, $n) = unpack 'nn', substr $bytes, $at, 4;
		$got{$attr} = substr $bytes, $at + 4, $n;
		$at += 4 + $n + -$n % 4;
	}
	if (defined $got{0x0009}) {
		my ($class, $number) = unpack 'x2CC', $got{0x0009};
		$got{error} = ($class & 7) * 100 + $number;
	}
	for (['mapped', 0x0020], ['relayed', 0x0016]) {
		my $value = $got{ $_->[1] } // next;
		my ($port, $ip) = unpack 'x2na4', $value;
		$got{ $_->[0] } = inet_ntoa($ip ^ $COOKIE) . ':' . ($port ^ 0x2112);
	}
	$got{lifetime} = unpack 'N', $got{0x000d} if defined $got{0x000d};
	return \%got;
}

# Addresses of this process alone: tests run side by side.
my $hosts = 0;
sub host { sprintf '127.%d.%d.%d', 1 + ($$ >> 8 & 63) + 64 * ($$ >> 14 & 1), $$ & 255, 10 + $hosts++ }

package Turn::Server;
use Time::HiRes qw(sleep);

sub new {
	my ($class, $name, %opt) = @_;
	my $self = bless { name => $name, host => $opt{host} // Turn::host(), port => $opt{port} // 3478,
		owner => $$, opt => \%opt, log => File::Temp->new(TEMPLATE => 'coturn-XXXXXX', TMPDIR => 1) }, $class;
	my @cmd = (@{ $opt{wrap} || [] }, 'turnserver', '-n', '-L', $self->{host}, '-p', $self->{port},
		'-E', $self->{host}, '-a', '-u', "$Turn::USER:$Turn::PASSWORD", '-r', $Turn::REALM, '--no-cli',
		'--allow-loopback-peers', '--log-file=stdout', '--pidfile=/dev/null', '-m', '1',
		'--no-rfc5780', @{ $opt{args} || ['--no-tls', '--no-dtls'] });
	$self->{pid} = fork // die "fork: $!";
	if (!$self->{pid}) {
		Steelyard::die_with_parent();
		$SIG{TERM} = 'DEFAULT';
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{log}";
		open STDERR, '>&', \*STDOUT;
		exec @cmd or POSIX::_exit(127);
	}
	Steelyard::wait_for("coturn $name", sub {
		waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}
			and die "coturn ended: " . $self->text;
		return `@{ $opt{wrap} } ss -Hlun sport = :$self->{port}` if $opt{wrap};
		eval { Turn::Client->new($self->{host}, $self->{port})->binding(0.2) };
	});
	return $self;
}

sub text { my $self = shift; open my $in, '<', "$self->{log}" or return ''; local $/; scalar <$in> // '' }
sub kill {
	my ($self, $signal) = @_;
	CORE::kill($signal || 'KILL', $self->{pid});
	waitpid delete $self->{pid}, 0 unless $signal;
}
sub DESTROY {
	my $self = shift;
	local ($?, $!, $@);
	$self->kill if $self->{pid} && $self->{owner} == $$;
}

package Turn::Client;
use IO::Select;
use IO::Socket::IP;
use Time::HiRes qw(time);

sub new {
	my ($class, $host, $port, %opt) = @_;
	my $sock = $opt{sock} || IO::Socket::IP->new(PeerHost => $host, PeerPort => $port,
		$opt{from} ? (LocalHost => $opt{from}) : (), $opt{local_port} ? (LocalPort => $opt{local_port}) : (),
		Type => $opt{tcp} ? Socket::SOCK_STREAM : Socket::SOCK_DGRAM) or die "client: $@ $!";
	return bless { sock => $sock, stream => $opt{tcp} || $opt{sock}, rest => '', channel => 0x4000,
		user => $opt{user} // $Turn::USER, password => $opt{password} // $Turn::PASSWORD }, $class;
}

sub send_bytes { my ($self, $bytes) = @_; syswrite $self->{sock}, $bytes }

# The next message or ChannelData, padding left aside; undef after so long.
sub receive {
	my ($self, $wait) = @_;
	my $end = time + $wait;
	while (1) {
		if ($self->{stream} && length $self->{rest} >= 4) {
			my ($type, $len) = unpack 'nn', $self->{rest};
			my $whole = $type < 0x4000 ? 20 + $len : 4 + $len + -$len % 4;
			if (length $self->{rest} >= $whole) {
				my $frame = substr $self->{rest}, 0, $whole, '';
				return $type < 0x4000 ? $frame : substr $frame, 0, 4 + $len;
			}
		}
		my $left = $end - time;
		my $pending = $self->{sock}->can('pending') && $self->{sock}->pending;
		return undef if !$pending && ($left <= 0 || !IO::Select->new($self->{sock})->can_read($left));
		my $n = sysread $self->{sock}, my $bytes, 65536;
		return undef if $self->{stream} && !$n;
		next unless defined $n;
		return $bytes unless $self->{stream};
		$self->{rest} .= $bytes;
	}
}

# Asks until there is an answer: datagrams get lost.
sub ask {
	my ($self, $type, $body, %opt) = @_;
	my $tid = Turn::tid();
	my $said = Turn::message($type, $tid, $body, $opt{key});
	for my $try (1 .. $opt{tries} // 8) {
		$self->send_bytes($said) if $try == 1 || !$self->{stream};
		my $end = time + ($opt{wait} // 1);
		while (defined(my $bytes = $self->receive($end - time))) {
			my $got = Turn::parse($bytes) or next;
			next unless $got->{tid} eq $tid;
			$self->{error} = $got->{error};
			return $got;
		}
	}
	$self->{error} = 'no answer';
	return;
}

sub binding { my ($self, $wait) = @_; $self->ask(0x0001, '', wait => $wait // 1, tries => $wait ? 1 : 8) }

# With credentials; a stale nonce is taken over once.
sub signed {
	my ($self, $type, $body) = @_;
	my $got;
	for (1 .. 2) {
		my $user = Turn::attr(0x0006, $self->{user}) . Turn::attr(0x0014, $self->{realm}) .
			Turn::attr(0x0015, $self->{nonce});
		my $key = Digest::MD5::md5("$self->{user}:$self->{realm}:$self->{password}");
		$got = $self->ask($type, $body . $user, key => $key) or return;
		last unless ($got->{error} // 0) == 438;
		$self->{nonce} = $got->{0x0015};
	}
	return $got;
}

sub challenge {
	my $self = shift;
	my $got = $self->ask(0x0003, Turn::attr(0x0019, pack 'Cx3', $self->{relay_tcp} ? 6 : 17)) or return;
	@$self{qw(realm nonce)} = @$got{0x0014, 0x0015};
	return $got;
}

sub allocate {
	my $self = shift;
	my $got = $self->challenge or return;
	return unless ($got->{error} // 0) == 401;
	$got = $self->signed(0x0003, Turn::attr(0x0019, pack 'Cx3', $self->{relay_tcp} ? 6 : 17)) or return;
	@$self{qw(relayed mapped lifetime)} = @$got{qw(relayed mapped lifetime)};
	return $got->{type} == 0x0103 ? $got : undef;
}

sub refresh {
	my ($self, $lifetime) = @_;
	my $got = $self->signed(0x0004, Turn::attr(0x000d, pack 'N', $lifetime)) or return;
	return $got->{type} == 0x0104 ? $got : undef;
}

sub bind_channel {
	my ($self, $host, $port) = @_;
	my $got = $self->signed(0x0009, Turn::attr(0x000c, pack 'nx2', $self->{channel}) .
		Turn::attr(0x0012, Turn::xor_addr($host, $port))) or return;
	return $got->{type} == 0x0109;
}

sub say_channel {
	my ($self, $text) = @_;
	$self->send_bytes(pack('nn', $self->{channel}, length $text) . $text .
		($self->{stream} ? "\0" x (-length($text) % 4) : ''));
}

# Says it until the echo comes; how often it had to, 0: in vain.
sub channel {
	my ($self, $text, $tries) = @_;
	for my $try (1 .. $tries // 10) {
		$self->say_channel($text);
		my $end = time + 0.5;
		while (defined(my $bytes = $self->receive($end - time))) {
			return $try if substr($bytes, 4) eq $text;
		}
	}
	return 0;
}

1;
