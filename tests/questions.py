"""Sentences for what may be cached: general questions whose answer stays, and what must always be asked, by reason.

Written for these tests, one a line: what people ask an assistant at home that is no command, and its near neighbours.
"""

from __future__ import annotations

GENERAL: dict[str, tuple[str, ...]] = {
    "en": tuple(
        """What is the capital of France?
Who wrote Hamlet?
How did the Roman Empire fall?
How did dinosaurs die out?
When did the Second World War end?
What did Einstein discover?
Why did the Titanic sink?
What is the best way to boil an egg?
What is the best material for a frying pan?
What is the other name for vitamin C?
What other planets have rings?
What else can baking soda be used for?
What is the difference between weather and climate?
What are the different kinds of clouds?
How many more protons does gold have than silver?
Is there more water than land on Earth?
What is sea level?
What is the level of noise that harms ears?
What is the price of freedom in the novel?
Who said that the price of freedom is eternal vigilance?
How many bones are there in the human body?
What is the effect of coffee on sleep?
What is the tallest mountain on Earth?
How far is the Moon from the Earth?
How long does it take light to reach us from the Sun?
How many hours are there in a week?
How many days are there in a leap year?
How many times did France win the World Cup?
What is the first law of thermodynamics?
At what temperature does water boil?
What is the melting temperature of iron?
What is the normal body temperature?
Why is the sky blue?
Why do cats purr?
How do bees make honey?
How does a microwave work?
How does a battery store energy?
How does a heat pump work?
What is alternating current?
What is the volume of a sphere?
What is a state of matter?
What are the states of matter?
How many states are there in the United States?
What is the status quo?
Who was the first person on the Moon?
Who painted the Mona Lisa?
Who discovered penicillin?
Who invented the light bulb?
Who invented the telephone?
Who is the author of War and Peace?
Who were the Beatles?
Who was the last emperor of China?
Which planet is the largest?
Which element has the symbol Fe?
Which is longer, the Nile or the Amazon?
Where is Mount Everest?
Where is the Great Barrier Reef?
Where do penguins live?
Where does chocolate come from?
When was the Eiffel Tower built?
When was Mozart born?
When did humans first use fire?
What does photosynthesis mean?
What does an electrician do?
What does GDP stand for?
What does a thermostat do?
Explain the theory of relativity
Explain how vaccines work
Explain what inflation is
Describe the water cycle
Define entropy
Compare lions and tigers
Name the planets of the solar system
List the kings of England
Tell me about the Industrial Revolution
Tell me who wrote Don Quixote
Can you tell me how volcanoes form?
Could you explain what a black hole is?
How do I make pancakes?
How do I remove red wine from a carpet?
How do I choose a mattress?
How do I reset a router?
How do you pronounce quinoa?
How do you spell necessary?
How do you say good morning in Spanish?
How do you play chess?
How do you calculate the area of a circle?
How long do you boil an egg?
How long does pregnancy last?
How long should pasta cook?
How much caffeine is in a cup of tea?
How much does an elephant weigh?
How much is twelve times twelve?
How old is the universe?
How tall is the Statue of Liberty?
How fast is the speed of sound?
How deep is the ocean?
How hot is the surface of the Sun?
How cold is liquid nitrogen?
How warm should a fridge not be?
How high do planes fly?
How big is Jupiter?
How heavy is a blue whale?
Is a tomato a fruit?
Is glass a liquid?
Is Pluto a planet?
Is it safe to eat raw eggs?
Is it true that bats are blind?
Is honey good for a cough?
Are spiders insects?
Are whales mammals?
Do fish sleep?
Do plants breathe?
Do dogs dream?
Does salt dissolve in oil?
Does sound travel in a vacuum?
Did dinosaurs have feathers?
Did Napoleon lose at Waterloo?
Can dogs eat chocolate?
Can penguins fly?
Can you freeze cheese?
Should eggs be kept in a fridge?
Was Shakespeare married?
Were the pyramids built by slaves?
Has anyone walked on Mars?
What is 15 percent of 80?
What is the square root of 144?
What is two to the power of ten?
What is seven plus eight?
What is the plural of mouse?
What is the opposite of open?
What is another word for happy?
What is a synonym for quick?
What is the past tense of to go?
What is an adjective?
What is a haiku?
What is a joke?
What is the story of Romeo and Juliet?
What is the main idea of The Little Prince?
What is the game of chess based on?
What is the meaning of life according to Aristotle?
What is random access memory?
What is a coin made of?
How many sides does a dice have?
What is new about the New Testament?
What is New York known for?
What are the ingredients of pesto?
What are the symptoms of the flu?
What are the side effects of ibuprofen?
What are the colours of the rainbow?
What are the rules of football?
What are the parts of a flower?
What are prime numbers?
What colours make purple?
What language is spoken in Brazil?
What currency does Japan use?
What ocean lies between Africa and America?
What causes earthquakes?
What causes thunder?
What causes rain?
What makes a rainbow?
What makes bread rise?
What happened in 1989?
What happened at Chernobyl?
What happens when water freezes?
What happens to a body in space?
What was the Cold War?
What was the first film with sound?
What is snow made of?
What is wind?
What is the sun made of?
What is humidity?
What is a solar eclipse?
What is a news agency?
What is a stock exchange?
What is a calendar year?
What is a time zone?
What is a clock speed?
What is jet lag?
What is daylight saving?
What is blood pressure?
What is a healthy heart rate?
What is a vegan diet?
What is gluten?
What is Bluetooth?
What is an IP address?
What is machine learning?
What is open source software?
What is the Dewey decimal system?
What is the Great Wall?
What is the currency of Poland?
What is the population of Tokyo?
What is the chemical formula of salt?
What is the distance from Paris to Berlin?
What is the longest river in the world?
What is the smallest country in the world?
What is the fastest animal?
What is the hardest mineral?
What is the national anthem of Italy called?
What kind of animal is a koala?
What year did Columbus reach America?
What year was the Berlin Wall built?
In which country is Timbuktu?
In what year did the French Revolution begin?
On which continent is Egypt?
Why is the sea salty?
Why do we yawn?
Why do leaves change colour?
Why does ice float?
Why does bread go stale?
Why was the Magna Carta written?
Whose theory was natural selection?
Whom did Henry the Eighth marry?
When do the bins go out?
What is my wife's birthday?""".splitlines()
    ),
    "fr": tuple(
        """Quelle est la capitale de la France ?
Qui a écrit Les Misérables ?
Comment est tombé l'Empire romain ?
Comment ont disparu les dinosaures ?
Quand s'est terminée la Seconde Guerre mondiale ?
Qu'a découvert Einstein ?
Pourquoi le Titanic a-t-il coulé ?
Quelle est la meilleure façon de cuire un œuf ?
Quel est l'autre nom de la vitamine C ?
Quelles autres planètes ont des anneaux ?
Quelle est la différence entre météo et climat ?
Quels sont les différents types de nuages ?
Quel est le plus haut sommet du monde ?
Quelle est la plus grande planète ?
Quel est le plus petit pays du monde ?
Y a-t-il plus d'eau que de terre sur la planète ?
Combien d'os y a-t-il dans le corps humain ?
Quel est l'effet du café sur le sommeil ?
Quelle est la distance entre la Terre et la Lune ?
Combien d'heures y a-t-il dans une semaine ?
Combien de jours compte une année bissextile ?
Combien de fois la France a-t-elle gagné la Coupe du monde ?
À quelle température bout l'eau ?
Quelle est la température de fusion du fer ?
Quelle est la température normale du corps humain ?
Pourquoi le ciel est-il bleu ?
Pourquoi les chats ronronnent-ils ?
Comment les abeilles font-elles le miel ?
Comment fonctionne un micro-ondes ?
Comment fonctionne une pompe à chaleur ?
Qu'est-ce que le courant alternatif ?
Quel est le volume d'une sphère ?
Quels sont les états de la matière ?
Qu'est-ce que le niveau de la mer ?
Combien d'états comptent les États-Unis ?
Qui a marché en premier sur la Lune ?
Qui a peint la Joconde ?
Qui a découvert la pénicilline ?
Qui a inventé l'ampoule électrique ?
Qui a inventé le téléphone ?
Qui est l'auteur de Guerre et Paix ?
Qui était Napoléon ?
Qui était le dernier roi de France ?
Quel élément a pour symbole Fe ?
Lequel est plus long, le Nil ou l'Amazone ?
Où est le mont Blanc ?
Où se trouve la grande barrière de corail ?
Où vivent les manchots ?
D'où vient le chocolat ?
Quand a été construite la tour Eiffel ?
Quand est né Mozart ?
Que veut dire photosynthèse ?
Que signifie PIB ?
Que fait un électricien ?
À quoi sert un thermostat ?
Explique la théorie de la relativité
Explique-moi comment fonctionnent les vaccins
Décris le cycle de l'eau
Définis l'entropie
Compare les lions et les tigres
Cite les planètes du système solaire
Parle-moi de la révolution industrielle
Dis-moi qui a écrit Don Quichotte
Peux-tu m'expliquer ce qu'est un trou noir ?
Peux-tu me dire comment se forment les volcans ?
Comment faire des crêpes ?
Comment enlever une tache de vin rouge ?
Comment choisir un matelas ?
Comment réinitialiser un routeur ?
Comment prononce-t-on quinoa ?
Comment s'écrit accueil ?
Comment dit-on bonjour en espagnol ?
Comment joue-t-on aux échecs ?
Comment calcule-t-on l'aire d'un cercle ?
Combien de temps cuit un œuf dur ?
Combien de temps dure une grossesse ?
Combien de caféine contient une tasse de thé ?
Combien pèse un éléphant ?
Combien font douze fois douze ?
Combien font sept plus huit ?
Quel âge a l'univers ?
Quelle est la hauteur de la statue de la Liberté ?
Quelle est la vitesse du son ?
Quelle est la vitesse de la lumière ?
Quelle est la profondeur de l'océan ?
Est-ce que la tomate est un fruit ?
Est-ce que le verre est un liquide ?
Est-ce que Pluton est une planète ?
Est-ce dangereux de manger des œufs crus ?
Le miel est-il bon pour la toux ?
Les araignées sont-elles des insectes ?
Est-ce que les poissons dorment ?
Les plantes respirent-elles ?
Est-ce que le sel se dissout dans l'huile ?
Le son voyage-t-il dans le vide ?
Les dinosaures avaient-ils des plumes ?
Les chiens peuvent-ils manger du chocolat ?
Peut-on congeler du fromage ?
Faut-il garder les œufs au frais ?
Combien font 15 pour cent de 80 ?
Quelle est la racine carrée de 144 ?
Quel est le pluriel de cheval ?
Quel est le contraire de grand ?
Quel est un synonyme de rapide ?
Qu'est-ce qu'un adjectif ?
Qu'est-ce qu'un haïku ?
Qu'est-ce qu'une blague ?
Quelle est l'histoire de Roméo et Juliette ?
Quelle est l'idée principale du Petit Prince ?
Quelle est l'histoire de la Bretagne ?
Quel est le sens de la vie selon Aristote ?
De quoi est faite une pièce de monnaie ?
Combien de faces a un dé ?
Pourquoi New York est-elle connue ?
Quels sont les ingrédients du pesto ?
Quels sont les symptômes de la grippe ?
Quels sont les effets secondaires de l'ibuprofène ?
Quelles sont les couleurs de l'arc-en-ciel ?
Quelles sont les règles du football ?
Quelles sont les parties d'une fleur ?
Que sont les nombres premiers ?
Quelles couleurs font du violet ?
Quelle langue parle-t-on au Brésil ?
Quelle monnaie utilise le Japon ?
Quel océan sépare l'Afrique de l'Amérique ?
Qu'est-ce qui cause les tremblements de terre ?
Qu'est-ce qui cause le tonnerre ?
Qu'est-ce qui fait lever le pain ?
Que s'est-il passé en 1989 ?
Que s'est-il passé à Tchernobyl ?
Que se passe-t-il quand l'eau gèle ?
Qu'était la guerre froide ?
Quel fut le premier film parlant ?
De quoi est faite la neige ?
De quoi est fait le Soleil ?
Qu'est-ce que le vent ?
Qu'est-ce que l'humidité ?
Qu'est-ce qu'une éclipse ?
Qu'est-ce qu'une bourse ?
Qu'est-ce qu'un fuseau horaire ?
Qu'est-ce que le décalage horaire ?
Qu'est-ce que la pression artérielle ?
Qu'est-ce qu'un régime végétalien ?
Qu'est-ce que le gluten ?
Qu'est-ce que le Bluetooth ?
Qu'est-ce qu'une adresse IP ?
Qu'est-ce que l'apprentissage automatique ?
Qu'est-ce qu'un logiciel libre ?
Quelle est la monnaie de la Pologne ?
Quelle est la population de Tokyo ?
Quelle est la formule chimique du sel ?
Quelle est la distance entre Paris et Berlin ?
Quel est le plus long fleuve du monde ?
Quel est l'animal le plus rapide ?
Quel est le minéral le plus dur ?
Comment s'appelle l'hymne national italien ?
Quel genre d'animal est le koala ?
En quelle année Colomb a-t-il atteint l'Amérique ?
En quelle année a été construit le mur de Berlin ?
Dans quel pays se trouve Tombouctou ?
Sur quel continent est l'Égypte ?
Pourquoi la mer est-elle salée ?
Pourquoi bâille-t-on ?
Pourquoi les feuilles changent-elles de couleur ?
Pourquoi la glace flotte-t-elle ?
Pourquoi le pain rassit-il ?
À qui doit-on la sélection naturelle ?
Qui a épousé Henri VIII ?
C'est quoi un trou noir ?
C'est quoi la TVA ?
C'est qui Marie Curie ?
Quel est l'anniversaire de ma femme ?
Quand passent les poubelles ?
Combien de pattes a une araignée ?
Combien de cordes a un violon ?
Combien de joueurs dans une équipe de rugby ?
Combien d'habitants à Lyon ?
Quelle est la recette de la ratatouille ?
Quelle est la recette du gratin dauphinois ?
Comment cuire du riz ?
Comment plier une chemise ?
Comment nouer une cravate ?
Comment planter des tomates ?
Comment faire du pain ?
Quelle quantité de sel dans une pâte à pain ?
Que mange un hérisson ?
Que boivent les vaches ?
Où est né Victor Hugo ?
Où se trouve le Machu Picchu ?
Quand a eu lieu la bataille de Marignan ?
Quand fut inventée l'imprimerie ?
Qui gouvernait la Gaule avant César ?
Qui sont les Trois Mousquetaires ?
Quel roi a construit Versailles ?
Quel gaz respirons-nous ?
Quel est le rôle du foie ?
Quelle est la capitale de l'Australie ?
Quelle est la devise de la France ?
Quelle est la masse de la Terre ?
Pourquoi les avions volent-ils ?
Pourquoi le sang est-il rouge ?
Pourquoi y a-t-il des saisons ?
Est-ce que les chauves-souris sont aveugles ?
Est-ce que l'or rouille ?
Un kilo de plumes pèse-t-il moins qu'un kilo de plomb ?""".splitlines()
    ),
    "pl": tuple(
        """Jaka jest stolica Polski?
Kto napisał Pana Tadeusza?
Jak upadło Cesarstwo Rzymskie?
Jak wyginęły dinozaury?
Kiedy skończyła się druga wojna światowa?
Co odkrył Einstein?
Dlaczego zatonął Titanic?
Jaki jest najlepszy sposób na ugotowanie jajka?
Jaka jest inna nazwa witaminy C?
Które inne planety mają pierścienie?
Jaka jest różnica między pogodą a klimatem?
Jakie są różne rodzaje chmur?
Jaki jest najwyższy szczyt świata?
Jaka jest największa planeta?
Jaki jest najmniejszy kraj na świecie?
Czy na Ziemi jest więcej wody niż lądu?
Ile kości ma człowiek?
Jaki jest wpływ kawy na sen?
Jak daleko jest Księżyc od Ziemi?
Ile godzin ma tydzień?
Ile dni ma rok przestępny?
Ile razy Polska była mistrzem świata w siatkówce?
W jakiej temperaturze wrze woda?
Jaka jest temperatura topnienia żelaza?
Jaka jest prawidłowa temperatura ciała?
Dlaczego niebo jest niebieskie?
Dlaczego koty mruczą?
Jak pszczoły robią miód?
Jak działa mikrofalówka?
Jak działa pompa ciepła?
Jak działa bateria?
Co to jest prąd zmienny?
Jaka jest objętość kuli?
Jakie są stany skupienia materii?
Co to jest poziom morza?
Ile stanów mają Stany Zjednoczone?
Kto pierwszy stanął na Księżycu?
Kto namalował Mona Lisę?
Kto odkrył penicylinę?
Kto wynalazł żarówkę?
Kto wynalazł telefon?
Kto jest autorem Wojny i pokoju?
Kim był Mikołaj Kopernik?
Kto był ostatnim królem Polski?
Który pierwiastek ma symbol Fe?
Co jest dłuższe, Nil czy Amazonka?
Gdzie jest Mount Everest?
Gdzie leży Wielka Rafa Koralowa?
Gdzie żyją pingwiny?
Skąd pochodzi czekolada?
Kiedy zbudowano wieżę Eiffla?
Kiedy urodził się Mozart?
Co znaczy fotosynteza?
Co oznacza skrót PKB?
Czym zajmuje się elektryk?
Do czego służy termostat?
Wyjaśnij teorię względności
Wyjaśnij, jak działają szczepionki
Wytłumacz, czym jest inflacja
Opisz obieg wody w przyrodzie
Zdefiniuj entropię
Porównaj lwy i tygrysy
Wymień planety Układu Słonecznego
Powiedz mi, kto napisał Don Kichota
Czy możesz mi wyjaśnić, co to jest czarna dziura?
Czy możesz powiedzieć, jak powstają wulkany?
Jak zrobić naleśniki?
Jak usunąć plamę z czerwonego wina?
Jak wybrać materac?
Jak zresetować router?
Jak się wymawia quinoa?
Jak się pisze żółw?
Jak jest dzień dobry po hiszpańsku?
Jak się gra w szachy?
Jak obliczyć pole koła?
Jak długo gotować jajko?
Jak długo trwa ciąża?
Ile kofeiny ma filiżanka herbaty?
Ile waży słoń?
Ile to jest dwanaście razy dwanaście?
Ile to jest siedem plus osiem?
Ile lat ma wszechświat?
Jak wysoka jest Statua Wolności?
Jaka jest prędkość dźwięku?
Jaka jest prędkość światła?
Jak głęboki jest ocean?
Czy pomidor to owoc?
Czy szkło jest cieczą?
Czy Pluton jest planetą?
Czy można jeść surowe jajka?
Czy miód pomaga na kaszel?
Czy pająki to owady?
Czy ryby śpią?
Czy rośliny oddychają?
Czy sól rozpuszcza się w oleju?
Czy dźwięk rozchodzi się w próżni?
Czy dinozaury miały pióra?
Czy psy mogą jeść czekoladę?
Czy można zamrozić ser?
Czy jajka trzeba trzymać w lodówce?
Ile to jest 15 procent z 80?
Jaki jest pierwiastek kwadratowy ze 144?
Jaka jest liczba mnoga od słowa człowiek?
Jakie jest przeciwieństwo słowa duży?
Jaki jest synonim słowa szybki?
Co to jest przymiotnik?
Co to jest haiku?
Co to jest dowcip?
O czym jest historia Romea i Julii?
Jaka jest główna myśl Małego Księcia?
Jaka jest historia Krakowa?
Jaki jest sens życia według Arystotelesa?
Z czego zrobiona jest moneta?
Ile ścian ma kostka do gry?
Z czego słynie Nowy Jork?
Jakie są składniki pesto?
Jakie są objawy grypy?
Jakie są skutki uboczne ibuprofenu?
Jakie są kolory tęczy?
Jakie są zasady piłki nożnej?
Jakie są części kwiatu?
Co to są liczby pierwsze?
Jakie kolory dają fioletowy?
Jakim językiem mówi się w Brazylii?
Jaka waluta jest w Japonii?
Jaki ocean leży między Afryką a Ameryką?
Co powoduje trzęsienia ziemi?
Skąd się bierze grzmot?
Skąd się bierze deszcz?
Dlaczego chleb rośnie?
Co się stało w 1989 roku?
Co się stało w Czarnobylu?
Co się dzieje, gdy woda zamarza?
Czym była zimna wojna?
Jaki był pierwszy film dźwiękowy?
Z czego składa się śnieg?
Z czego zbudowane jest Słońce?
Czym jest wiatr?
Co to jest wilgotność?
Co to jest zaćmienie?
Co to jest giełda?
Co to jest strefa czasowa?
Co to jest ciśnienie krwi?
Co to jest dieta wegańska?
Co to jest gluten?
Co to jest Bluetooth?
Co to jest adres IP?
Co to jest uczenie maszynowe?
Co to jest wolne oprogramowanie?
Jaka jest waluta Czech?
Jaka jest liczba ludności Tokio?
Jaki jest wzór chemiczny soli?
Jaka jest odległość z Paryża do Berlina?
Jaka jest najdłuższa rzeka świata?
Jakie jest najszybsze zwierzę?
Jaki jest najtwardszy minerał?
Jak nazywa się hymn Włoch?
Jakim zwierzęciem jest koala?
W którym roku Kolumb dotarł do Ameryki?
W którym roku zbudowano mur berliński?
W jakim kraju leży Timbuktu?
Na jakim kontynencie leży Egipt?
Dlaczego morze jest słone?
Dlaczego ziewamy?
Dlaczego liście zmieniają kolor?
Dlaczego lód pływa?
Dlaczego chleb czerstwieje?
Kto stworzył teorię doboru naturalnego?
Kogo poślubił Henryk VIII?
Ile nóg ma pająk?
Ile strun ma skrzypce?
Ile osób gra w drużynie rugby?
Ilu mieszkańców ma Kraków?
Jaki jest przepis na bigos?
Jaki jest przepis na pierogi?
Jak ugotować ryż?
Jak złożyć koszulę?
Jak zawiązać krawat?
Jak sadzić pomidory?
Jak upiec chleb?
Ile soli do ciasta na chleb?
Co je jeż?
Co piją krowy?
Gdzie urodził się Chopin?
Gdzie leży Machu Picchu?
Kiedy była bitwa pod Grunwaldem?
Kiedy wynaleziono druk?
Kto rządził Polską przed Kazimierzem Wielkim?
Kim byli trzej muszkieterowie?
Który król zbudował Wersal?
Jakim gazem oddychamy?
Jaka jest rola wątroby?
Jaka jest stolica Australii?
Jaka jest dewiza Francji?
Jaka jest masa Ziemi?
Dlaczego samoloty latają?
Dlaczego krew jest czerwona?
Dlaczego są pory roku?
Czy nietoperze są ślepe?
Czy złoto rdzewieje?
Czy kilogram pierza waży mniej niż kilogram ołowiu?
Kiedy są urodziny mojej żony?
Kiedy wywożą śmieci?
Ile centymetrów ma cal?
Ile gramów ma uncja?
Jak powstaje tęcza?
Jak powstają diamenty?
Jak oddychają ryby?
Po co nam sen?
Czego potrzebują storczyki?
Od czego zależy ciśnienie wody?
Kto był pierwszym prezydentem USA?
Kto skomponował Cztery pory roku?
Co wynalazła Maria Skłodowska?""".splitlines()
    ),
}
# Always asked of the model: by what it depends on.
KEPT_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "action": tuple(
            """Turn on the kitchen light
Could you please turn off the fan
Would you mind turning off the radio
How about turning on the light
Why don't you open the blinds
Is it possible to turn the heating down
Set the thermostat to 21
Make it warmer
Play some jazz
Do the vacuuming
Vacuum the hall
Add milk to my list
Remember that I like tea
Forget what I said about Anna
Remind me to call mum
Who wrote Hamlet and turn on the light
Please, um, lock the front door
Wake me at seven
Let there be light in the kitchen
Lights out
Hey, close the curtains
Okay, dim the lamp
I want you to start the dishwasher
Would it be possible to pause the music
Kitchen light on
Bedroom blinds down please
Call Anna
Go to sleep mode
It is too dark here
I'm cold""".splitlines()
        ),
        "freshness": tuple(
            """What time is it?
What's the time?
What is the time in Tokyo?
What is today's date?
What day is it?
What's the date?
What's the weather like?
Will it rain tomorrow?
Is it raining?
How warm is it in the bedroom?
How cold is it outside?
What is the temperature in the living room?
What's the temperature outside?
What's the humidity in the bathroom?
What's on the news?
What happened today?
What is happening in the world?
What is the latest iPhone?
Who is the current president of France?
Who won the match last night?
What's the score?
What is the price of bitcoin?
How much is the stock of Apple?
How is the traffic to work?
When is my next appointment?
What's on my calendar?
How long is left on my timer?
What alarms are set?
What's on my shopping list?
How long until Christmas?
How many days until Easter?
When is sunset?
What did I just ask you?
What did we talk about yesterday?
Did anyone ring the bell?
Did the mail come?
Is the bus late?
When is the next train?
Good morning
How old am I?
Is it dark yet?
What should I do this weekend?
Has Anna called recently?
What year is it?
What month is it?
Is it Friday?
How long ago did Anna call?
Check the weather""".splitlines()
        ),
        "state": tuple(
            """Is the door locked?
Is the light on?
Are the lights in the kitchen on?
Which lights are on?
How many windows are open?
Is anyone home?
Who is home?
Where am I?
Where is everyone?
Where are my kids?
Is there anyone in the garden?
Is the washing machine done?
Has the dishwasher finished?
What is the battery level of the phone?
How much battery is left?
What is the state of the alarm?
What's the status of the garage?
What is playing?
What's the volume?
Did I leave the oven on?
Did I close the garage?
How much power is the fridge using?
What is the brightness of the lamp?
What position are the blinds in?
Is everything turned off?
Are we out of milk?
What is the thermostat set to?
Is the alarm armed?
What can you see in the hallway?
When did the washing machine finish?
Is my phone charging?
Are any doors unlocked?""".splitlines()
        ),
        "novelty": tuple(
            """Tell me a joke
Tell us a story about a dragon
Do you know a good joke?
Write a poem about rain
Give me a random number
Pick a number between one and ten
Choose a colour for me
Roll a dice
Flip a coin
Heads or tails?
Surprise me
Guess my age
Tell me something new
Tell me a fun fact
Another one
Give me another example
What else?
Tell me more
Recommend a film
What film do you recommend?
Suggest a recipe for dinner
Any ideas for a birthday present?
What should I cook for dinner?
What should we watch?
Sing a song
Let's play a game
Quiz me about history
Make up a name for my boat
Imagine you are a pirate
Give me a quote
Compose a haiku
What's a good riddle?""".splitlines()
        ),
        "again": ("Say that again", "Repeat that", "Ask again", "Try once more", "What was that again?"),
        "correction": ("No, that's wrong", "That's not right", "No", "Yes", "no, the other one", "Wrong answer"),
    },
    "fr": {
        "action": tuple(
            """Allume la lumière
Peux-tu éteindre la lampe ?
Tu peux ouvrir les volets ?
Est-ce que tu peux fermer la porte du garage ?
Pourrais-tu, s'il te plaît, baisser le chauffage
Mets la radio
Mets le thermostat à 21
Règle la luminosité à 50
Joue du jazz
Ajoute du lait à la liste de courses
Retiens que j'aime le thé
Oublie ce que j'ai dit
Rappelle-moi d'appeler maman
Lance l'aspirateur
Et si tu allumais la lumière
Qui a écrit Hamlet et allume la lampe
Verrouille la porte
Réveille-moi à sept heures
Euh, ferme les rideaux
Il fait trop sombre ici
J'ai froid
Lumière du salon à fond
Appelle Anna
Arrête la musique""".splitlines()
        ),
        "freshness": tuple(
            """Quelle heure est-il ?
Il est quelle heure ?
Quelle heure est-il à Tokyo ?
Quelle est la date d'aujourd'hui ?
Quel jour sommes-nous ?
On est quel jour ?
Quel temps fait-il ?
Va-t-il pleuvoir demain ?
Est-ce qu'il pleut ?
Il fait combien dans la chambre ?
Quelle est la température dans le salon ?
Quelle température fait-il dehors ?
Quel est le taux d'humidité dans la salle de bain ?
Quelles sont les nouvelles ?
Que s'est-il passé aujourd'hui ?
Que se passe-t-il dans le monde ?
Quel est le dernier iPhone ?
Qui est le président actuel de la France ?
Qui a gagné le match hier soir ?
Quel est le score ?
Quel est le prix du bitcoin ?
Quel est le cours de l'action Apple ?
Y a-t-il des bouchons ?
Quand est mon prochain rendez-vous ?
Qu'y a-t-il dans mon agenda ?
Combien de temps reste-t-il au minuteur ?
Quelles alarmes sont réglées ?
Qu'y a-t-il sur ma liste de courses ?
Dans combien de jours est Noël ?
À quelle heure se couche le soleil ?
Qu'est-ce que je viens de te demander ?
De quoi avons-nous parlé hier ?
Est-ce que quelqu'un a sonné ?
Quand part le prochain train ?
Bonjour
Quel âge ai-je ?
En quelle année sommes-nous ?
Est-ce qu'il fait déjà nuit ?
Vérifie la météo""".splitlines()
        ),
        "state": tuple(
            """Est-ce que la porte est fermée ?
La lumière est-elle allumée ?
Quelles lumières sont allumées ?
Combien de fenêtres sont ouvertes ?
Qui est à la maison ?
Y a-t-il quelqu'un à la maison ?
Où suis-je ?
Où sont les enfants ?
La machine à laver est-elle finie ?
Le lave-vaisselle a-t-il terminé ?
Quel est le niveau de batterie du téléphone ?
Combien de batterie reste-t-il ?
Quel est l'état de l'alarme ?
Qu'est-ce qui joue ?
Quel est le volume ?
Est-ce que j'ai laissé le four allumé ?
Quelle est la consommation du frigo ?
Quelle est la luminosité de la lampe ?
Est-ce que tout est éteint ?
Mon téléphone est-il en charge ?
Est-ce que l'alarme est armée ?
Quelle est la position des volets ?""".splitlines()
        ),
        "novelty": tuple(
            """Raconte-moi une blague
Raconte une histoire de dragon
Tu connais une bonne blague ?
Écris un poème sur la pluie
Donne-moi un nombre au hasard
Choisis un nombre entre un et dix
Lance un dé
Pile ou face ?
Surprends-moi
Devine mon âge
Dis-moi quelque chose de nouveau
Une autre
Donne-moi un autre exemple
Quoi d'autre ?
Dis-m'en plus
Recommande-moi un film
Quel film me conseilles-tu ?
Propose une recette pour ce soir
Des idées de cadeau ?
Que dois-je cuisiner pour le dîner ?
Chante une chanson
Jouons à un jeu
Invente un nom pour mon bateau
Imagine que tu es un pirate
Donne-moi une citation
Une devinette""".splitlines()
        ),
        "again": ("Répète", "Redis-le encore une fois", "Redemande", "Essaie de nouveau"),
        "correction": ("Non, c'est faux", "Ce n'est pas vrai", "Non", "Oui", "non, l'autre", "Tu te trompes"),
    },
    "pl": {
        "action": tuple(
            """Włącz światło
Czy możesz wyłączyć lampę?
Proszę, zgaś światło w kuchni
Mógłbyś zamknąć rolety?
Ustaw termostat na 21
Zrób cieplej
Puść jazz
Dodaj mleko do listy zakupów
Zapamiętaj, że lubię herbatę
Zapomnij, co mówiłem o Annie
Przypomnij mi, żeby zadzwonić do mamy
Uruchom odkurzacz
Może włączysz światło
Kto napisał Hamleta i zapal lampę
Zarygluj drzwi
Obudź mnie o siódmej
Yyy, zasłoń zasłony
Za ciemno tu
Zimno mi
Światło w salonie na maksa
Zadzwoń do Anny
Zatrzymaj muzykę
Chcę, żebyś otworzył bramę""".splitlines()
        ),
        "freshness": tuple(
            """Która godzina?
Która jest godzina w Tokio?
Jaki dziś dzień?
Jaka jest dzisiaj data?
Jaka jest pogoda?
Czy jutro będzie padać?
Czy pada deszcz?
Jak ciepło jest w sypialni?
Jaka jest temperatura w salonie?
Jaka jest temperatura na dworze?
Ile jest stopni na zewnątrz?
Jaka jest wilgotność w łazience?
Jakie są wiadomości?
Co się dzisiaj stało?
Co się dzieje na świecie?
Jaki jest najnowszy iPhone?
Kto jest obecnie prezydentem Francji?
Kto wygrał wczoraj mecz?
Jaki jest wynik meczu?
Jaka jest cena bitcoina?
Jaki jest kurs euro?
Czy są korki?
Kiedy mam następne spotkanie?
Co mam w kalendarzu?
Ile zostało na minutniku?
Jakie alarmy są ustawione?
Co jest na liście zakupów?
Ile dni do świąt?
O której zachodzi słońce?
O co przed chwilą pytałem?
O czym rozmawialiśmy wczoraj?
Czy ktoś dzwonił do drzwi?
Kiedy jest następny pociąg?
Dzień dobry
Ile mam lat?
Który mamy rok?
Czy jest już ciemno?
Sprawdź pogodę""".splitlines()
        ),
        "state": tuple(
            """Czy drzwi są zamknięte?
Czy światło jest włączone?
Które światła są zapalone?
Ile okien jest otwartych?
Kto jest w domu?
Czy ktoś jest w domu?
Gdzie jestem?
Gdzie są dzieci?
Czy pralka skończyła?
Czy zmywarka już skończyła?
Jaki jest poziom baterii telefonu?
Ile baterii zostało?
Jaki jest stan alarmu?
Co teraz gra?
Jaka jest głośność?
Czy zostawiłem włączony piekarnik?
Jakie jest zużycie prądu?
Jaka jest jasność lampy?
Czy wszystko jest wyłączone?
Czy telefon się ładuje?
Czy alarm jest uzbrojony?
W jakiej pozycji są rolety?""".splitlines()
        ),
        "novelty": tuple(
            """Opowiedz dowcip
Opowiedz bajkę o smoku
Znasz jakiś dobry żart?
Napisz wiersz o deszczu
Podaj losową liczbę
Wybierz liczbę od jednego do dziesięciu
Rzuć kostką
Orzeł czy reszka?
Zaskocz mnie
Zgadnij, ile mam lat
Powiedz coś nowego
Jeszcze jeden
Podaj inny przykład
Co jeszcze?
Powiedz więcej
Poleć mi film
Jaki film polecasz?
Zaproponuj coś na kolację
Masz pomysł na prezent?
Co ugotować na obiad?
Zaśpiewaj piosenkę
Zagrajmy w grę
Wymyśl nazwę dla łodzi
Wyobraź sobie, że jesteś piratem
Podaj cytat
Zadaj mi zagadkę""".splitlines()
        ),
        "again": ("Powtórz", "Powiedz to jeszcze raz", "Zapytaj jeszcze raz", "Sprawdź ponownie"),
        "correction": ("Nie, to nieprawda", "To nieprawda", "Nie", "Tak", "nie, tamten drugi", "Mylisz się"),
    },
}
