# What must be there before anything can be measured: packages, load and origin, certificates, Steelyard.
package Bench::Setup;

use strict;
use warnings;

use Bench::Child;
use Digest::SHA ();
use File::Path qw(make_path);

my %SOURCES = (
	load => [qw(load.c crowd.c flows.c reply.c stream.c wire.c)],
	origin => [qw(origin.c stream.c wire.c)],
);

# Runs a step of the preparation; its output is shown only when it fails.
sub step {
	my ($what, @argv) = @_;
	my ($status, $said) = Bench::Child->run(1800, @argv);
	return if defined $status && $status == 0;
	die "bench: $what failed (@argv):\n" . join("\n", (split /\n/, $said)[-20 .. -1] // $said) . "\n"
		if ($said =~ tr/\n//) > 20;
	die "bench: $what failed (@argv):\n$said\n";
}

# Installs what contrib/packages lists for a build and for the bench. No package's service is started: a
# second HAProxy or nginx in the background is nothing that a measurement, or the owner of the machine,
# wants; nor shall one start with the next boot because of a bench.
sub install {
	my ($say, $contrib) = @_;
	my @new = grep { !-e "/usr/sbin/$_" } qw(haproxy nginx);
	$say->('installing what is missing (as contrib/packages has it)') if @new;
	step('installing packages', "$contrib/install-packages", 'build', 'bench');
	return if !-d '/run/systemd/system';
	Bench::Child->run(60, 'systemctl', '--quiet', 'disable', '--now', $_) for @new;
}

# Compiles load and origin; the folder that they are in.
sub tools {
	my ($source, $build) = @_;
	my $folder = "$build/tools";
	make_path($folder);
	for my $name (sort keys %SOURCES) {
		my @files = map { "$source/$_" } @{ $SOURCES{$name} };
		my $program = "$folder/$name";
		my $newest = (sort { $b <=> $a } map { (stat)[9] } @files, glob "$source/*.h")[0];
		next if -x $program && (stat $program)[9] > $newest;
		step("compiling $name", $ENV{CC} // 'cc', qw(-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra),
			'-o', $program, @files, qw(-lssl -lcrypto));
	}
	return $folder;
}

# One PEM file for each kind, with certificate and key: { rsa => FILE, ecdsa => FILE }.
sub certificates {
	my ($folder) = @_;
	my %key = (rsa => ['rsa:2048'], ecdsa => ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']);
	my %file;
	for my $kind (sort keys %key) {
		my $base = "$folder/$kind";
		step("making a certificate", 'openssl', 'req', '-x509', '-nodes', '-days', 30, '-newkey',
			@{ $key{$kind} }, '-subj', '/CN=bench.test',
			'-addext', 'subjectAltName=DNS:bench.test',
			'-keyout', "$base.key", '-out', "$base.crt");
		$file{$kind} = "$base.pem";
		open my $out, '>', $file{$kind} or die "bench: $file{$kind}: $!\n";
		print $out Bench::Machine::read_file("$base.crt"), Bench::Machine::read_file("$base.key");
		close $out or die "bench: $file{$kind}: $!\n";
		chmod 0644, $file{$kind}; # made for this run, and proxies read it as different users
	}
	return \%file;
}

# Eight hex digits that tell one build from another: a checksum of the program and its modules.
sub fingerprint {
	my ($program, $modules) = @_;
	$modules //= $program =~ s{/sbin/[^/]+$}{/lib/steelyard}r;
	my $sum = Digest::SHA->new(256);
	$sum->addfile($_, 'b') for $program, sort glob "$modules/*/*.so";
	return substr $sum->hexdigest, 0, 8;
}

# Builds Steelyard as users get it, installs it beneath the build folder; the daemon's path, or undef
# with a reason.
sub steelyardd {
	my ($say, $source, $build) = @_;
	return (undef, 'there is no configure.ac in the source') if !-e "$source/configure.ac";
	my $root = "$build/root";
	make_path("$build/obj");
	return eval {
		$say->('building Steelyard (the first time takes a while)');
		step('autoreconf', 'autoreconf', '-fi', $source) if !-x "$source/configure";
		chdir "$build/obj" or die "bench: $build/obj: $!\n";
		step('configure', "$source/configure", '-q', "--prefix=$root") if !-e 'Makefile';
		step('make', 'make', '-s', '-j2');
		step('make install', 'make', '-s', 'install');
		chdir '/';
		my ($found) = grep { -x } "$root/sbin/steelyardd", "$root/bin/steelyardd";
		die "bench: make install has put no steelyardd under $root\n" if !$found;
		$found;
	} // (undef, $@);
}

1;
