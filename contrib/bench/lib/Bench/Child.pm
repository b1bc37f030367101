# Starting programs, talking with them line by line with a time limit, and ending them.
package Bench::Child;

use strict;
use warnings;

use Fcntl ();
use POSIX ();
use Time::HiRes qw(time sleep);

# start(argv => [...], cpu => N, stdout/stderr => FILE): a child whose standard input and output are
# pipes to us, unless stdout names a file.
sub start {
	my ($class, %how) = @_;
	pipe my $from_us, my $to_child or die "bench: pipe: $!\n";
	pipe my $from_child, my $to_us or die "bench: pipe: $!\n";
	my $pid = fork // die "bench: fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<&', $from_us or POSIX::_exit(126);
		if ($how{stdout}) {
			open STDOUT, '>>', $how{stdout} or POSIX::_exit(126);
		} else {
			open STDOUT, '>&', $to_us or POSIX::_exit(126);
		}
		if ($how{stderr}) {
			open STDERR, '>>', $how{stderr} or POSIX::_exit(126);
		}
		my @pin = defined $how{cpu} ? ('taskset', '-c', $how{cpu}) : ();
		exec { (@pin, @{ $how{argv} })[0] } @pin, @{ $how{argv} } or POSIX::_exit(127);
	}
	my $self = bless { pid => $pid, in => $to_child, out => $from_child, buffer => '',
		name => $how{argv}[0] =~ s/.*\///r }, $class;
	$self->{in}->autoflush(1);
	return $self;
}

# The next line without its end; dies when none comes in time.
sub line {
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	my $at;
	until (($at = index $self->{buffer}, "\n") >= 0) {
		my $left = $end - time;
		my $ready = '';
		vec($ready, fileno $self->{out}, 1) = 1;
		die "$self->{name} said nothing for $seconds s\n"
			if $left <= 0 || !select($ready, undef, undef, $left);
		sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer}
			or die "$self->{name} ended unexpectedly\n";
	}
	my $line = substr $self->{buffer}, 0, $at;
	substr($self->{buffer}, 0, $at + 1) = '';
	return $line;
}

# Waits for exactly this line.
sub expect {
	my ($self, $word, $seconds) = @_;
	my $line = $self->line($seconds);
	die "$self->{name} said \"$line\" instead of \"$word\"\n" if $line ne $word;
}

sub answer {
	my ($self) = @_;
	print { $self->{in} } "\n";
}

# True while it runs.
sub alive {
	my ($self) = @_;
	return 0 if $self->{gone};
	$self->{gone} = 1, $self->{status} = $? if waitpid($self->{pid}, POSIX::WNOHANG) != 0;
	return !$self->{gone};
}

# Waits for its end; its exit status, or undef when it had to be killed.
sub finish {
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	while ($self->alive) {
		if (time > $end) {
			kill KILL => $self->{pid};
			waitpid $self->{pid}, 0;
			$self->{gone} = 1;
			return undef;
		}
		sleep 0.005;
	}
	return $self->{status} >> 8;
}

sub signal {
	my ($self, $signal) = @_;
	kill $signal, $self->{pid};
}

# Runs to its end: (exit status or undef, everything that it said).
sub run {
	my ($class, $seconds, @argv) = @_;
	pipe my $from_child, my $to_us or die "bench: pipe: $!\n";
	my $pid = fork // die "bench: fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null' or POSIX::_exit(126);
		open STDOUT, '>&', $to_us or POSIX::_exit(126);
		open STDERR, '>&', $to_us or POSIX::_exit(126);
		exec { $argv[0] } @argv or POSIX::_exit(127);
	}
	close $to_us;
	my $said = '';
	my $status = eval {
		local $SIG{ALRM} = sub { die "late\n" };
		alarm $seconds;
		1 while sysread $from_child, $said, 65536, length $said;
		waitpid $pid, 0;
		my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
		alarm 0;
		$code;
	};
	if (!defined $status) {
		kill KILL => $pid;
		waitpid $pid, 0;
	}
	return ($status, $said);
}

1;
